import { expect } from 'chai';
import type {
  Document,
  Facts,
  Input,
  ReadDocument,
  Reservation,
} from '../../../consumer/engine/processor.js';
import { Restrictions } from '../../../consumer/topics/restrictions.js';
import type { Rule } from '../../../rules/restrictions/rule.js';
import type { Effect } from '../../../shared/effects.js';
import { PARTITION_DOCUMENT, userDocument } from '../../../shared/keys.js';
import { createLogger } from '../../../shared/logging.js';
import type { Message } from '../../../shared/messages/message.js';
import { NEW_PARTITION, type PartitionState } from '../../../shared/state/partition-state.js';
import { NEW_USER, type UserState } from '../../../shared/state/user-state.js';
import { DEFAULT_TENANT } from '../../../shared/topics.js';
import { SEED_RULES } from './test-rules.js';

export interface Entry {
  readonly message: Message;
  readonly at: number;
}

/** Answers reservations; what it leaves out is asked again, so it must answer all. */
export type Answer = (reservations: readonly Reservation[]) => Facts;

export const grantAll: Answer = (reservations) => new Map(reservations.map(({ key }) => [key, true]));

interface Stage {
  readonly documents: Map<string, Document>;
  readonly indexes: Map<string, Map<string, number>>;
  readonly timers: Map<string, number>;
  readonly ids: Set<string>;
  readonly log: Effect[];
  at: number;
}

/** Restrictions do not look at it. */
const PLACE = { entry: { id: '1-0' } };

/**
 * One partition with everything the engine promises and nothing else: batches that take effect whole, ids that count
 * once, timers before entries, reservations answered before the final fold. No Redis, no clock. Every document is
 * frozen, and must survive encoding.
 */
export class SimulatedPartition {
  private committed: Stage = {
    documents: new Map(),
    indexes: new Map(),
    timers: new Map(),
    ids: new Set(),
    log: [],
    at: 0,
  };
  private readonly processor: Restrictions;

  constructor(
    rules: readonly Rule[] = SEED_RULES,
    private readonly answer: Answer = grantAll,
  ) {
    this.processor = new Restrictions({
      rules,
      limits: { max_share: 0.05, max_users: null, min_population: 20, window_seconds: 300 },
      tripwire: {
        reserve: () => Promise.reject(new Error('the simulation answers reservations itself')),
        populationBeside: () => Promise.resolve(0),
      },
      log: createLogger('test', 'silent'),
      onTrip: () => undefined,
    });
  }

  /** The partition as an owner with other rules finds it. */
  withRules(rules: readonly Rule[]): SimulatedPartition {
    const heir = new SimulatedPartition(rules, this.answer);
    heir.committed = this.committed;
    return heir;
  }

  /** Folds entries in batches of the given sizes (the last one repeats); controls get a batch of their own. */
  run(entries: readonly Entry[], ...sizes: number[]): this {
    let batch: Entry[] = [];
    let batches = 0;
    for (const entry of entries) {
      const size = sizes[Math.min(batches, sizes.length - 1)] ?? entries.length;
      if (this.processor.foldsAlone(entry.message)) {
        this.step(batch);
        this.step([entry]);
        batch = [];
        batches += 1;
        continue;
      }
      batch.push(entry);
      if (batch.length < size) continue;
      this.step(batch);
      batch = [];
      batches += 1;
    }
    this.step(batch);
    return this;
  }

  /** No entry comes until `at`: only timers. */
  idle(at: number): this {
    return this.commit((stage, facts) => this.fireTimers(stage, at, facts));
  }

  user(userId: string): UserState {
    const name = userDocument(DEFAULT_TENANT, userId);
    return (this.committed.documents.get(name) as UserState | undefined) ?? NEW_USER;
  }

  /** Writes a document as nothing in weir would. */
  replaceUser(userId: string, change: (user: UserState) => UserState): void {
    this.committed.documents.set(userDocument(DEFAULT_TENANT, userId), change(this.user(userId)));
  }

  get partition(): PartitionState {
    return (this.committed.documents.get(PARTITION_DOCUMENT) as PartitionState | undefined) ?? NEW_PARTITION;
  }

  get documentNames(): string[] {
    return [...this.committed.documents.keys()].sort();
  }

  get timers(): Record<string, number> {
    return Object.fromEntries(this.committed.timers);
  }

  index(name: string): Record<string, number> {
    return Object.fromEntries(this.committed.indexes.get(name) ?? []);
  }

  effects<Kind extends Effect['kind']>(kind: Kind): Extract<Effect, { kind: Kind }>[] {
    return this.committed.log.filter(
      (effect): effect is Extract<Effect, { kind: Kind }> => effect.kind === kind,
    );
  }

  /** Everything that was ever decided, comparable. */
  snapshot() {
    const { documents, indexes, timers, log, at } = this.committed;
    const sorted = <Value>(map: ReadonlyMap<string, Value>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      documents: sorted(documents),
      indexes: sorted(indexes).map(([name, members]) => [name, sorted(members)] as const),
      timers: sorted(timers),
      log,
      at,
    };
  }

  private step(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    this.commit((stage, facts) => {
      const open: Reservation[] = [];
      for (const { message, at } of entries) {
        open.push(...this.fireTimers(stage, Math.max(stage.at, at), facts));
        const id = `${message.subject}\0${message.id}`;
        if (stage.ids.has(id)) continue;
        stage.ids.add(id);
        open.push(
          ...this.fold(stage, { kind: 'message', message, at: stage.at, place: PLACE, index: 0 }, facts),
        );
      }
      return open;
    });
  }

  /** Folds, asks what is open, and folds again from the start, until every question has its answer. */
  private commit(fold: (stage: Stage, facts: Facts) => readonly Reservation[]): this {
    let facts: Facts = new Map();
    for (let round = 0; round < 10; round++) {
      const stage = copyOf(this.committed);
      const open = fold(stage, facts).filter(({ key }) => !facts.has(key));
      if (open.length === 0) {
        this.committed = stage;
        return this;
      }
      facts = new Map([...facts, ...this.answer(open)]);
    }
    throw new Error('reservations never came to an end');
  }

  private fireTimers(stage: Stage, until: number, facts: Facts): Reservation[] {
    const open: Reservation[] = [];
    for (let fired = 0; fired < 10_000; fired++) {
      const due = [...stage.timers].filter(([, dueAt]) => dueAt <= until);
      const next = due.sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))[0];
      if (next === undefined) break;
      const [id, dueAt] = next;
      stage.timers.delete(id);
      stage.at = Math.max(stage.at, dueAt);
      open.push(...this.fold(stage, { kind: 'timer', timer: { id, dueAt }, at: stage.at }, facts));
    }
    stage.at = Math.max(stage.at, until);
    return open;
  }

  private fold(stage: Stage, input: Input, facts: Facts): readonly Reservation[] {
    const pinned: ReadDocument = (name) => {
      expect(this.processor.pinned).to.include(name);
      return stage.documents.get(name) ?? null;
    };
    const range = this.processor.range(input, pinned);
    const members = range === undefined ? [] : membersOf(stage, range.index, range.scoreMin, range.limit);
    const names = this.processor.documents(input, members);
    const read: ReadDocument = (name) => {
      expect(names).to.include(name);
      return stage.documents.get(name) ?? null;
    };
    const { writes, effects, reservations = [] } = this.processor.fold(input, read, facts, members);
    for (const [name, document] of writes) {
      if (document === null) stage.documents.delete(name);
      else stage.documents.set(name, deepFreeze(document));
      if (document === null) continue;
      expect(this.processor.decode(name, this.processor.encode(name, document))).to.deep.equal(document);
    }
    for (const effect of effects) apply(stage, effect);
    return reservations;
  }
}

function apply(stage: Stage, effect: Effect): void {
  stage.log.push(effect);
  if (effect.kind === 'timer') stage.timers.set(effect.id, effect.dueAt);
  if (effect.kind === 'cancel_timer') stage.timers.delete(effect.id);
  if (effect.kind === 'unindex') stage.indexes.get(effect.index)?.delete(effect.member);
  if (effect.kind === 'index') {
    const members = stage.indexes.get(effect.index) ?? new Map<string, number>();
    stage.indexes.set(effect.index, members.set(effect.member, effect.score));
  }
}

function membersOf(stage: Stage, index: string, scoreMin: number, limit: number): string[] {
  return [...(stage.indexes.get(index) ?? [])]
    .filter(([, score]) => score >= scoreMin)
    .sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, limit)
    .map(([member]) => member);
}

function copyOf({ documents, indexes, timers, ids, log, at }: Stage): Stage {
  return {
    documents: new Map(documents),
    indexes: new Map([...indexes].map(([name, members]) => [name, new Map(members)])),
    timers: new Map(timers),
    ids: new Set(ids),
    log: [...log],
    at,
  };
}

function deepFreeze(value: unknown): unknown {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
