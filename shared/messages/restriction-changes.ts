/** What the topic `events` hands to its outbox: every type that its folds emit. */
const RESTRICTION_CHANGES: ReadonlySet<string> = new Set([
  'restricted',
  'lifted',
  'override_set',
  'override_removed',
]);

export function isRestrictionChange(type: string): boolean {
  return RESTRICTION_CHANGES.has(type);
}
