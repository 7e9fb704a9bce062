import { AMOUNT_SCALE, hasEnded, type Override } from '../../shared/state/user-state.js';
import type { UserNow } from './read-user.js';

/**
 * The answer of `GET /users/{user_id}/restrictions`, without what has ended. Times are ISO 8601, amounts exact decimals.
 */
export function userView(userId: string, { user, at }: UserNow): object {
  const { profile } = user;
  const overrides = user.overrides.filter((override) => !hasEnded(override, at));
  const restrictions = user.restrictions.filter((restriction) => !hasEnded(restriction, at));
  const byRules = restrictions.map((restriction) => ({
    feature: restriction.feature,
    source: 'rule',
    rule: restriction.rule,
    rule_version: restriction.version,
    reason: restriction.reason,
    evidence: restriction.evidence,
    restricted_at: isoTime(restriction.restrictedAt),
    expires_at: isoTimeOrNull(restriction.expiresAt),
  }));
  const byHand = overrides
    .filter((override) => !override.allow)
    .map((override) => ({
      feature: override.feature,
      source: 'manual',
      rule: null,
      rule_version: null,
      reason: override.reason,
      evidence: [],
      restricted_at: isoTime(override.setAt),
      expires_at: isoTimeOrNull(override.expiresAt),
    }));
  return {
    user_id: userId,
    restrictions: [...byHand, ...byRules],
    overrides: overrides.map(overrideView),
    profile: {
      scam_message_flags: profile.scamFlags,
      total_credit_cards: profile.cards.length,
      unique_zip_codes: new Set(profile.cards.map(([, zipCode]) => zipCode)).size,
      total_spend: decimal(profile.spend),
      total_chargebacks: decimal(profile.chargebacks),
    },
  };
}

function overrideView(override: Override): object {
  return {
    feature: override.feature,
    allow: override.allow,
    reason: override.reason,
    actor: override.actor,
    set_at: isoTime(override.setAt),
    expires_at: isoTimeOrNull(override.expiresAt),
  };
}

/**
 * An amount in 1/10,000 as the number nearest to its decimal text: dividing in floating point could be off by one
 * unit in the last place, and 0.3 would read 0.30000000000000004.
 */
export function decimal(scaled: bigint): number {
  const whole = scaled / AMOUNT_SCALE;
  const fraction = (scaled % AMOUNT_SCALE).toString().padStart(4, '0');
  return Number(`${whole}.${fraction}`);
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

export function isoTimeOrNull(ms: number | null | undefined): string | null {
  return ms === null || ms === undefined ? null : isoTime(ms);
}
