import { RESTRICTING_INDEX, restrictedIndex } from '../../rules/restrictions/draft.js';
import type { RuleDependencies } from './rule-dependencies.js';

/** A rule that the registry no longer has and that still restricts users. */
export interface RemovedRule {
  readonly name: string;
  /** What it restricted; null: it did so before that was kept. */
  readonly feature: string | null;
  readonly users: number;
}

/** Users that a rule restricts, whether the registry has it or not. */
export async function restrictedUsers(
  { redis, slots }: Pick<RuleDependencies, 'redis' | 'slots'>,
  rule: string,
): Promise<number> {
  const index = restrictedIndex(rule);
  const each = await Promise.all(slots.ofTopic('events').map((slot) => redis.zcard(slot.keys.index(index))));
  return each.reduce((sum, users) => sum + users, 0);
}

/** @param asked names of rules that anything was ever asked of: they may have restricted before names were kept */
export async function removedRules(
  dependencies: RuleDependencies,
  asked: Iterable<string>,
): Promise<RemovedRule[]> {
  const { redis, slots, rules } = dependencies;
  const members = await Promise.all(
    slots.ofTopic('events').map((slot) => redis.zrange(slot.keys.index(RESTRICTING_INDEX), '0', '-1')),
  );
  const features = new Map<string, string | null>(Array.from(asked, (name) => [name, null]));
  for (const member of members.flat()) {
    const colon = member.indexOf(':');
    features.set(member.slice(colon + 1), member.slice(0, colon));
  }
  for (const { name } of rules) features.delete(name);
  const removed = await Promise.all(
    [...features].map(async ([name, feature]) => ({
      ...{ name, feature },
      users: await restrictedUsers(dependencies, name),
    })),
  );
  return removed.filter(({ users }) => users > 0).sort((a, b) => (a.name < b.name ? -1 : 1));
}
