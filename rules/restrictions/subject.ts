/** Whose state is folded. */
export interface Subject {
  readonly tenant: string;
  readonly userId: string;
}

/**
 * The user as one text, for indexes, timers and the tripwire: `<tenant>:<user id>`. A tenant holds no `:`
 * (it matches `[A-Za-z0-9_-]{1,64}`), so that no two users make the same text.
 */
export function memberOf({ tenant, userId }: Subject): string {
  return `${tenant}:${userId}`;
}

/** @throws for a text that `memberOf` cannot have made */
export function subjectOf(member: string): Subject {
  const colon = member.indexOf(':');
  if (colon < 1) throw new Error('not <tenant>:<user id>');
  return { tenant: member.slice(0, colon), userId: member.slice(colon + 1) };
}
