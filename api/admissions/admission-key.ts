import { hash } from 'node:crypto';
import { nanoid } from 'nanoid';
import {
  ADMISSION_KEY_LENGTH,
  type ADMIT,
  type EVALUATE,
  isGivenUndecided,
} from '../../shared/messages/admissions.js';
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

/** Digits of base64url that say the minute: they begin again after 32 years. */
const MINUTE_LENGTH = 4;
const MINUTES_ALL = 64 ** MINUTE_LENGTH;
const MINUTE_MS = 60_000;

/** For an admission that is given undecided. Others of the same key may be made in the same minute, by other processes. */
export function undecidedId(key: string, nowMs: number): string {
  const minute = Buffer.alloc(3);
  minute.writeUIntBE(Math.floor(nowMs / MINUTE_MS) % MINUTES_ALL, 0, 3);
  return `${key}o${minute.toString('base64url')}${nanoid(ID_TAIL_LENGTH - MINUTE_LENGTH)}`;
}

/**
 * Whether an id was given undecided no longer than `maxMs` ago, as far as clocks agree. One that lies in the future was
 * made by a clock that is ahead.
 */
export function isYoung(id: string, nowMs: number, maxMs: number): boolean {
  if (!isGivenUndecided(id)) return false;
  const start = ADMISSION_KEY_LENGTH + 1;
  const minute = Buffer.from(id.slice(start, start + MINUTE_LENGTH), 'base64url').readUIntBE(0, 3);
  const age = (((Math.floor(nowMs / MINUTE_MS) - minute) % MINUTES_ALL) + MINUTES_ALL) % MINUTES_ALL;
  // Begun minutes, and a little for clocks.
  return age <= maxMs / MINUTE_MS + 2 || age > MINUTES_ALL / 2;
}

/** 12 bytes of SHA-256, as 16 characters. */
function digest(text: string): string {
  return hash('sha256', text, 'base64url').slice(0, ADMISSION_KEY_LENGTH);
}
