import { ADMISSION_KEY_LENGTH, isGivenUndecided } from './admissions.js';

/** Digits of base64url that say the minute: they begin again after 32 years. */
export const MINUTE_LENGTH = 4;
const MINUTES_ALL = 64 ** MINUTE_LENGTH;
const MINUTE_MS = 60_000;
/** A clock that is further ahead is no clock, ms. */
const AHEAD_MS_MAX = 86_400_000;

/** The minute in which an admission is given undecided, as its id says it. */
export function givenMinute(nowMs: number): string {
  const minute = Buffer.alloc(3);
  minute.writeUIntBE(Math.floor(nowMs / MINUTE_MS) % MINUTES_ALL, 0, 3);
  return minute.toString('base64url');
}

/**
 * Whether an id was given undecided no longer than `maxMs` ago, as far as clocks agree. One that lies in the future, by a
 * day at most, was made by a clock that is ahead.
 */
export function isYoung(id: string, nowMs: number, maxMs: number): boolean {
  if (!isGivenUndecided(id)) return false;
  const start = ADMISSION_KEY_LENGTH + 1;
  const minute = Buffer.from(id.slice(start, start + MINUTE_LENGTH), 'base64url').readUIntBE(0, 3);
  const age = (((Math.floor(nowMs / MINUTE_MS) - minute) % MINUTES_ALL) + MINUTES_ALL) % MINUTES_ALL;
  // Begun minutes, and a little for clocks.
  return age <= maxMs / MINUTE_MS + 2 || age >= MINUTES_ALL - AHEAD_MS_MAX / MINUTE_MS;
}
