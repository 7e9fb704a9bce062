import type { Rule } from '../../rules/restrictions/rule.js';
import { share, tripwireLimits } from '../../rules/tripwire.js';
import type { AskedSettings } from '../../shared/control/control-log.js';
import { readAskedSettings } from '../../shared/control/control-log.js';
import { PARTITION_DOCUMENT } from '../../shared/keys.js';
import type { TripwireLimits } from '../../shared/messages/commands.js';
import { NEW_PARTITION, type PartitionState, type RuleErrors } from '../../shared/state/partition-state.js';
import { decodePartition } from '../../shared/state/state-codec.js';
import { type TripwireStatus, tripwireStatus } from '../../shared/tripwire/tripwire-status.js';
import { isoTimeOrNull } from '../restrictions/user-view.js';
import { removedRules, restrictedUsers } from './removed-rules.js';
import type { RuleDependencies } from './rule-dependencies.js';

/** The answer of `GET /rules`: those of the registry, then those that are gone from it and still restrict users. */
export async function rulesView(dependencies: RuleDependencies): Promise<object> {
  const { redis, keys, rules, limits } = dependencies;
  const [asked, partitions] = await Promise.all([
    readAskedSettings(redis, keys),
    readPartitions(dependencies),
  ]);
  const population = partitions.reduce((sum, partition) => sum + partition.users, 0);
  const removed = await removedRules(dependencies, asked.keys());
  const stateOf = async (name: string, tripwire: Rule['tripwire'], users: Promise<number> | number) => {
    const ofRule = limitsOf(limits, { tripwire }, asked.get(name) ?? {});
    const status = await tripwireStatus(redis, keys, name, ofRule.window_seconds);
    return {
      restricted_users: await users,
      shadow_users: partitions.reduce((sum, partition) => sum + (partition.shadow[name] ?? 0), 0),
      errors: errorsView(name, partitions),
      tripwire: tripwireView(status, ofRule, population),
    };
  };
  const known = rules.map(async ({ name, version, description, feature, mode, tripwire }) => ({
    ...{ name, version, description, mode: asked.get(name)?.mode ?? mode, feature },
    ...(await stateOf(name, tripwire, restrictedUsers(dependencies, name))),
  }));
  const gone = removed.map(async ({ name, feature, users }) => ({
    ...{ name, version: null, description: null, mode: 'removed', feature },
    ...(await stateOf(name, undefined, users)),
  }));
  return { rules: await Promise.all([...known, ...gone]) };
}

/** What the rule threw, on all partitions together. */
function errorsView(rule: string, partitions: readonly PartitionState[]): object {
  const each = partitions.flatMap(({ errors }) => errors?.[rule] ?? []);
  const latest = each.reduce<RuleErrors | undefined>(
    (a, b) => (a !== undefined && a.at >= b.at ? a : b),
    undefined,
  );
  return {
    count: each.reduce((sum, { count }) => sum + count, 0),
    last: latest?.last ?? null,
    at: isoTimeOrNull(latest?.at),
  };
}

/** The limits in force, once every partition has heard of what was asked. */
export function limitsOf(
  defaults: TripwireLimits,
  rule: { readonly tripwire?: Rule['tripwire'] | undefined },
  { limits }: AskedSettings,
): TripwireLimits {
  return tripwireLimits(defaults, rule.tripwire, limits);
}

function tripwireView(status: TripwireStatus, limits: TripwireLimits, population: number): object {
  return {
    state: status.state,
    affected: status.affected,
    population,
    share: share(status.affected, population),
    max_share: limits.max_share,
    max_users: limits.max_users,
    min_population: limits.min_population,
    window_seconds: limits.window_seconds,
    tripped_at: isoTimeOrNull(status.trippedAt),
    population_at_trip: status.populationAtTrip,
  };
}

function readPartitions({ redis, slots }: RuleDependencies): Promise<PartitionState[]> {
  return Promise.all(
    slots.ofTopic('events').map(async (slot) => {
      const text = await redis.get(slot.keys.doc(PARTITION_DOCUMENT));
      return text === null ? NEW_PARTITION : decodePartition(text);
    }),
  );
}
