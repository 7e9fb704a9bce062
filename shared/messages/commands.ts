import type { Feature, Mode } from './events.js';

/**
 * Messages of the topic `events` that are not events: what people do to users and to rules.
 * They travel through the stream like any event, so that they have a place in the order.
 */

/** Type `override_put`, subject: the user. Reply: `{}`. */
export interface OverridePut {
  readonly feature: Feature;
  readonly allow: boolean;
  readonly reason: string;
  readonly actor: string;
  /** ms since the epoch; absent: never. */
  readonly expires_at?: number;
}

/** Type `override_delete`, subject: the user. Reply: `{ existed }`. */
export interface OverrideDelete {
  readonly feature: Feature;
}

/** Limits of one rule's tripwire. */
export interface TripwireLimits {
  /** Share of the known users, 0 < share <= 1. */
  readonly max_share: number;
  /** Absolute number of newly restricted users in the window; null: no cap. */
  readonly max_users: number | null;
  /** Below this number of known users the tripwire never trips. */
  readonly min_population: number;
  readonly window_seconds: number;
}

/**
 * Type `control`, subject `CONTROL_SUBJECT`, id `control-<control id>`, sent to every partition.
 * `control` is the id in the control log: settings apply only if it is newer than what they replace.
 */
export type Control = { readonly control: string; readonly rule: string } & (
  | { readonly action: 'mode'; readonly mode: Mode; readonly lift: boolean }
  | { readonly action: 'tripwire'; readonly limits: TripwireLimits }
  | { readonly action: 'rearm' }
  /** Lift what the rule restricted at or after `since` (ms). Reply: `{ lifted }`. */
  | { readonly action: 'rollback'; readonly since: number }
);

/** Subject of messages that belong to a partition as a whole. No user has it: ids are never empty. */
export const CONTROL_SUBJECT = '';
