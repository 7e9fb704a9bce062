import { hash } from 'node:crypto';
import { nanoid } from 'nanoid';
import { ADMISSION_KEY_LENGTH, type ADMIT, type EVALUATE } from '../../shared/messages/admissions.js';
import { givenMinute, MINUTE_LENGTH } from '../../shared/messages/given-minute.js';
import { canonicalJson } from './canonical-json.js';

export type AskedType = typeof ADMIT | typeof EVALUATE;

/** What makes two requests the same one. */
export interface RequestKey {
  /** 16 characters; of a tenant. */
  readonly key: string;
  /** False: nobody can ask for this very one again; the key is random, or that of its body. */
  readonly keyed: boolean;
  /** Hash of everything the body says; empty where the key is random. */
  readonly body: string;
}

const ID_TAIL_LENGTH = 7;

/**
 * The same request id, or, with a payload and no request id, the same whole body. The two ways, and the two types of
 * request, share no keys.
 * @param byBody whether equal bodies have one key also where they have neither
 */
export function requestKey(
  type: AskedType,
  body: { readonly request_id?: string | undefined; readonly payload?: unknown },
  byBody = false,
): RequestKey {
  if (body.request_id !== undefined) {
    return {
      key: digest(`${type} id ${body.request_id}`),
      keyed: true,
      body: digest(canonicalJson(body)),
    };
  }
  const keyed = body.payload !== undefined;
  if (!keyed && !byBody) return { key: nanoid(ADMISSION_KEY_LENGTH), keyed, body: '' };
  const key = digest(`${type} body ${canonicalJson(body)}`);
  return { key, keyed, body: key };
}

/** For a request that is sent to the workers. */
export function admissionId(key: string): string {
  return `${key}a${nanoid(ID_TAIL_LENGTH)}`;
}

/** For an admission that is given undecided. Others of the same key may be made in the same minute, by other processes. */
export function undecidedId(key: string, nowMs: number): string {
  return `${key}o${givenMinute(nowMs)}${nanoid(ID_TAIL_LENGTH - MINUTE_LENGTH)}`;
}

/** 12 bytes of SHA-256, as 16 characters. */
function digest(text: string): string {
  return hash('sha256', text, 'base64url').slice(0, ADMISSION_KEY_LENGTH);
}
