import type { Redis } from 'ioredis';
import type { Subject } from '../../rules/restrictions/subject.js';
import { sharePpm } from '../../rules/tripwire.js';
import type { Keys } from '../../shared/keys.js';
import type { TripwireLimits } from '../../shared/messages/commands.js';
import { Script } from '../../shared/redis/script.js';
import { partitionOf } from '../../shared/topics.js';
import { populationOf } from '../../shared/tripwire/population.js';

const script = new Script(import.meta.url, 'reserve.lua');

/** Users asked for in one script call: Redis does nothing else meanwhile. */
const USERS_PER_CALL_MAX = 500;

export interface TripwireRequest {
  readonly rule: string;
  /** Era in which the partition decides: its `rules[rule].era`, empty before the first re-arm. */
  readonly era: string;
  /** `<tenant>:<user id>`, in the order of the decisions. */
  readonly users: readonly string[];
  readonly population: number;
  readonly limits: TripwireLimits;
  /** Earliest time of the decisions that ask, ms. */
  readonly decidedAt: number;
}

export interface TripwireAnswer {
  /** Per user of the request: may the rule restrict it? */
  readonly granted: readonly boolean[];
  /** This request tripped the wire. */
  readonly trips: boolean;
  /** Users in the window afterwards. */
  readonly affected: number;
  /** Redis time of the (last) answer, ms. */
  readonly now: number;
}

/** The tripwires of all rules, in Redis; each on a key of its own, whichever partition asks. */
export class Tripwire {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly partitions: number,
  ) {}

  /**
   * Asks a rule's tripwire, in order and in bounded calls. Idempotent: a user reserved already is granted again.
   * @throws what the driver throws; some users may be reserved then, and asking again is right
   */
  async reserve({
    rule,
    era,
    users,
    population,
    limits,
    decidedAt,
  }: TripwireRequest): Promise<TripwireAnswer> {
    const { wire, reserved } = this.keys.tripwire(rule);
    const settings = [
      era,
      population,
      sharePpm(limits.max_share),
      limits.max_users ?? -1,
      limits.min_population,
      Math.round(limits.window_seconds * 1000),
      decidedAt,
    ];
    const granted: boolean[] = [];
    let trips = false;
    let affected = 0;
    let now = 0;
    for (let from = 0; from < users.length; from += USERS_PER_CALL_MAX) {
      const chunk = users.slice(from, from + USERS_PER_CALL_MAX);
      const reply = await script.run(this.redis, [wire, reserved], [...settings, ...chunk]);
      const [time, tripped, inWindow, answers] = reply as [number, number, number, string];
      now = time;
      trips ||= tripped === 1;
      affected = inWindow;
      for (const answer of answers) granted.push(answer === '1');
    }
    return { granted, trips, affected, now };
  }

  /** Known users, as committed, of all partitions of `events` but the one this subject lies in. */
  populationBeside({ tenant, userId }: Subject): Promise<number> {
    const own = partitionOf(tenant, userId, this.partitions);
    return populationOf(this.redis, this.keys, 'events', this.partitions, own);
  }
}
