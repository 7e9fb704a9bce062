import type { Catalog } from '../../rules/restrictions/compile-catalog.js';
import type { RuleReservation } from '../../rules/restrictions/draft.js';
import { type Subject, subjectOf } from '../../rules/restrictions/subject.js';
import { tripwireLimits } from '../../rules/tripwire.js';
import type { Logger } from '../../shared/logging.js';
import type { TripwireLimits } from '../../shared/messages/commands.js';
import type { PartitionState } from '../../shared/state/partition-state.js';
import type { TripwireAnswer, TripwireRequest } from './tripwire.js';

export interface TripwireAccess {
  /** Limits of rules that have none of their own. */
  readonly limits: TripwireLimits;
  readonly tripwire: {
    reserve(request: TripwireRequest): Promise<TripwireAnswer>;
    /** Known users, as committed, of all partitions but the one this subject lies in. */
    populationBeside(subject: Subject): Promise<number>;
  };
  readonly log: Logger;
  /** A rule's tripwire has tripped. */
  readonly onTrip: (rule: string) => void;
}

/**
 * Answers the reservations of one partition's batch by key: each rule's tripwire is asked once, for its users in
 * the order of the batch.
 *
 * @param partition as the batch leaves it: its users count from the moment they are seen
 * @throws what the driver throws; asking again is right
 */
export async function askTripwires(
  reservations: readonly RuleReservation[],
  partition: PartitionState,
  catalog: Catalog,
  { limits: defaults, tripwire, log, onTrip }: TripwireAccess,
): Promise<ReadonlyMap<string, boolean>> {
  const answers = new Map<string, boolean>();
  const [first] = reservations;
  if (first === undefined) return answers;
  const population = partition.users + (await tripwire.populationBeside(subjectOf(first.subject)));
  for (const [rule, asked] of groupByRule(reservations)) {
    const settings = partition.rules[rule];
    const limits = tripwireLimits(defaults, catalog.byName.get(rule)?.rule.tripwire, settings?.limits);
    const { granted, trips, affected } = await tripwire.reserve({
      rule,
      era: settings?.era ?? '',
      users: asked.map((reservation) => reservation.subject),
      population,
      limits,
      decidedAt: asked.reduce((earliest, { at }) => Math.min(earliest, at), Number.POSITIVE_INFINITY),
    });
    asked.forEach(({ key }, index) => {
      answers.set(key, granted[index] === true);
    });
    if (trips) {
      log.warn({ rule, affected, population, limits }, 'tripwire tripped: the rule restricts nobody new');
      onTrip(rule);
    }
  }
  return answers;
}

function groupByRule(reservations: readonly RuleReservation[]): Map<string, RuleReservation[]> {
  const groups = new Map<string, RuleReservation[]>();
  for (const reservation of reservations) {
    const group = groups.get(reservation.rule);
    if (group === undefined) groups.set(reservation.rule, [reservation]);
    else group.push(reservation);
  }
  return groups;
}
