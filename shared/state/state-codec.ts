import type { Feature } from '../messages/events.js';
import { FEATURES } from '../messages/events.js';
import { NEW_PARTITION, type PartitionState } from './partition-state.js';
import { isDenied, NEW_USER, type Override, type Restriction, type UserState } from './user-state.js';

/** Version of every document. A worker that reads a newer one releases the partition and changes nothing. */
export const DOCUMENT_VERSION = 1;

/** Thrown by the decoders; the worker gives the partition to a newer colleague. */
export class NewerDocumentError extends Error {
  constructor(version: unknown, newest = DOCUMENT_VERSION) {
    super(`document version ${String(version)} is newer than ${newest}, the newest this process knows`);
    this.name = 'NewerDocumentError';
  }
}

/**
 * Compact JSON: fields at their default are left out, `denied` comes first of all that may be absent, because it
 * is what the API reads.
 */
interface StoredUser {
  v: number;
  /** Features the user may not use, as long as nothing ends. Derived from the rest on every write; the API's answer. */
  denied?: Feature[];
  /** Set where only overrides are known of the user, no event: the exception, so that users cost nothing. */
  unknown?: true;
  flags?: number;
  cards?: UserState['profile']['cards'];
  spend?: string;
  chargebacks?: string;
  windows?: UserState['windows'];
  recent?: UserState['recent'];
  restrictions?: UserState['restrictions'];
  overrides?: UserState['overrides'];
  shadow?: UserState['shadow'];
}

export function encodeUser(user: UserState): string {
  const { profile } = user;
  const stored: StoredUser = { v: DOCUMENT_VERSION };
  if (user.restrictions.length > 0 || user.overrides.length > 0) {
    const denied = FEATURES.filter((feature) => isDenied(user, feature));
    if (denied.length > 0) stored.denied = denied;
  }
  if (!user.known) stored.unknown = true;
  if (profile.scamFlags > 0) stored.flags = profile.scamFlags;
  if (profile.cards.length > 0) stored.cards = profile.cards;
  if (profile.spend > 0n) stored.spend = profile.spend.toString();
  if (profile.chargebacks > 0n) stored.chargebacks = profile.chargebacks.toString();
  if (!isEmpty(user.windows)) stored.windows = user.windows;
  if (!isEmpty(user.recent)) stored.recent = user.recent;
  if (user.restrictions.length > 0) stored.restrictions = user.restrictions;
  if (user.overrides.length > 0) stored.overrides = user.overrides;
  if (!isEmpty(user.shadow)) stored.shadow = user.shadow;
  return JSON.stringify(stored);
}

/** @throws NewerDocumentError for a version above ours. */
export function decodeUser(text: string): UserState {
  const stored = parseDocument(text) as unknown as StoredUser;
  return {
    known: stored.unknown !== true,
    profile: {
      scamFlags: stored.flags ?? 0,
      cards: stored.cards ?? NEW_USER.profile.cards,
      spend: stored.spend === undefined ? 0n : BigInt(stored.spend),
      chargebacks: stored.chargebacks === undefined ? 0n : BigInt(stored.chargebacks),
    },
    windows: stored.windows ?? NEW_USER.windows,
    recent: stored.recent ?? NEW_USER.recent,
    restrictions: stored.restrictions ?? NEW_USER.restrictions,
    overrides: stored.overrides ?? NEW_USER.overrides,
    shadow: stored.shadow ?? NEW_USER.shadow,
  };
}

/**
 * Whether a stored user may not use a feature: what `GET /canmessage` and `/canpurchase` answer from. Undefined where
 * something about it ends by itself: the answer is `isDenied`, and depends on the time.
 */
export function isDeniedAtAnyTime(text: string, feature: Feature): boolean | undefined {
  const stored = parseDocument(text) as unknown as StoredUser;
  const ends = (each: Restriction | Override) => each.feature === feature && each.expiresAt !== null;
  if (stored.restrictions?.some(ends) || stored.overrides?.some(ends)) return undefined;
  return stored.denied?.includes(feature) === true;
}

export function encodePartition(partition: PartitionState): string {
  return JSON.stringify({ v: DOCUMENT_VERSION, ...partition });
}

/** @throws NewerDocumentError for a version above ours. */
export function decodePartition(text: string): PartitionState {
  const { v: _version, ...stored } = parseDocument(text);
  return { ...NEW_PARTITION, ...(stored as Partial<PartitionState>) };
}

/** @param newest version that is known of this kind. @throws NewerDocumentError for one above it. */
export function parseDocument(
  text: string,
  newest = DOCUMENT_VERSION,
): { v: number } & Record<string, unknown> {
  const stored = JSON.parse(text) as { v: number } & Record<string, unknown>;
  if (!(stored.v <= newest)) throw new NewerDocumentError(stored.v, newest);
  return stored;
}

function isEmpty(record: object): boolean {
  for (const _key in record) return false;
  return true;
}
