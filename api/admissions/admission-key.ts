import { hash } from 'node:crypto';
import { nanoid } from 'nanoid';
import { ADMISSION_KEY_LENGTH, type ADMIT, type EVALUATE } from '../../shared/messages/admissions.js';
import { canonicalJson } from './canonical-json.js';

export type AskedType = typeof ADMIT | typeof EVALUATE;

/** What makes two requests the same one. */
export interface RequestKey {
  /** 16 characters; of a tenant. */
  readonly key: string;
  /** False: nobody can ask for this again, the key is random. */
  readonly keyed: boolean;
  /** Hash of everything the body says; empty where it is not keyed. */
  readonly body: string;
}

const ID_TAIL_LENGTH = 7;

/**
 * The same request id, or, with a payload and no request id, the same whole body. The two ways, and the two types of
 * request, share no keys.
 */
export function requestKey(
  type: AskedType,
  body: { readonly request_id?: string | undefined; readonly payload?: unknown },
): RequestKey {
  if (body.request_id !== undefined) {
    return {
      key: digest(`${type} id ${body.request_id}`),
      keyed: true,
      body: digest(canonicalJson(body)),
    };
  }
  if (body.payload === undefined) return { key: nanoid(ADMISSION_KEY_LENGTH), keyed: false, body: '' };
  const key = digest(`${type} body ${canonicalJson(body)}`);
  return { key, keyed: true, body: key };
}

/** @param origin `a`: made on the usual way; `o`: the store was away */
export function admissionId(key: string, origin: 'a' | 'o'): string {
  return key + origin + nanoid(ID_TAIL_LENGTH);
}

/** 12 bytes of SHA-256, as 16 characters. */
function digest(text: string): string {
  return hash('sha256', text, 'base64url').slice(0, ADMISSION_KEY_LENGTH);
}
