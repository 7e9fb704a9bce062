import { expect } from 'chai';
import type { MeteringContext, WindowSettings } from '../../../rules/windows/context.js';
import { correct } from '../../../rules/windows/correct.js';
import { foldCountersTimer } from '../../../rules/windows/counters.js';
import { parseMeteringTimer } from '../../../rules/windows/metering-timer.js';
import type { UsageEvent } from '../../../rules/windows/usage-event.js';
import { windowStart } from '../../../rules/windows/window-document.js';
import { foldArchived, foldUsage, foldWindowTimer, type UsageVerdict } from '../../../rules/windows.js';
import type { Effect } from '../../../shared/effects.js';
import * as names from '../../../shared/keys.js';
import type { StoredWindow, WindowEmission } from '../../../shared/messages/window-emission.js';
import {
  decodeCounters,
  decodeMetering,
  decodeWindow,
  encodeCounters,
  encodeMetering,
  encodeWindow,
} from '../../../shared/state/metering-codec.js';
import type {
  AsOf,
  CountersState,
  MeteringState,
  WindowState,
} from '../../../shared/state/metering-state.js';

type MeteringDocument = WindowState | CountersState | MeteringState;

export type MeteringInput =
  | { readonly kind: 'usage'; readonly at: number; readonly event: UsageEvent }
  /** The archive takes the next records of the outbox and confirms them at `at`. */
  | { readonly kind: 'archive'; readonly at: number; readonly records: number }
  /** A restart with other settings. */
  | { readonly kind: 'settings'; readonly at: number; readonly settings: WindowSettings };

export interface Counted {
  readonly event: UsageEvent;
  /** The partition's time when it was folded. */
  readonly at: number;
  readonly verdict: UsageVerdict;
  readonly revision: number;
}

type OutboxRecord =
  | { readonly kind: 'window'; readonly emission: WindowEmission }
  | { readonly kind: 'cold'; readonly event: UsageEvent; readonly place: AsOf };

export const SETTINGS: WindowSettings = {
  windowMs: 30_000,
  latenessMs: 10_000,
  revisionDelayMs: 2000,
  dimensionsMax: 100,
  hotMs: 24 * 3_600_000,
};

/**
 * One partition of the topic `usage` with what the engine and the archive promise, and nothing else: steps that take
 * effect whole, timers before entries, an outbox in commit order, an archive that lags behind. It proves after every
 * step that no committed document was changed, and that every document survives its codec.
 */
export class MeteringPartition {
  readonly counted: Counted[] = [];
  readonly effects: Effect[] = [];
  /** Windows as the archive has them, by document name. */
  readonly archive = new Map<string, StoredWindow>();
  readonly indexes = new Map<string, Set<string>>();
  readonly timers = new Map<string, number>();
  private readonly outbox: OutboxRecord[] = [];
  private emitted: OutboxRecord[] = [];
  private readonly committed = new Map<string, { document: MeteringDocument; text: string }>();
  private written = new Map<string, MeteringDocument | null>();
  private step: object = {};
  private stepNumber = 0;
  private at = 0;
  private entry = 0;
  private confirmed = 0;

  /** @param forgets whether documents that a step (by number) wrote are read back from their text, as a new owner does */
  constructor(
    private settings: WindowSettings = SETTINGS,
    private readonly forgets: (step: number) => boolean = (step) => step % 2 === 1,
  ) {}

  /** Folds the inputs in steps of the given sizes (the last one repeats). */
  run(inputs: readonly MeteringInput[], ...sizes: number[]): this {
    let left = sizes[0] ?? inputs.length;
    let steps = 0;
    for (const input of inputs) {
      this.take(input);
      left -= 1;
      if (left > 0) continue;
      this.commit();
      steps += 1;
      left = sizes[Math.min(steps, sizes.length - 1)] ?? inputs.length;
    }
    return this.commit();
  }

  /** One event by itself. */
  count(at: number, event: UsageEvent): Counted {
    this.run([{ kind: 'usage', at, event }]);
    return this.counted.at(-1)!;
  }

  /** Nothing comes until `at`: only timers. */
  idle(at: number): this {
    this.fireTimers(at);
    return this.commit();
  }

  /** The archive catches up. */
  archiveAll(): this {
    return this.run([{ kind: 'archive', at: this.at, records: Infinity }]);
  }

  window(name: string): WindowState | undefined {
    return this.committed.get(name)?.document as WindowState | undefined;
  }

  counters(name: string): CountersState | undefined {
    return this.committed.get(name)?.document as CountersState | undefined;
  }

  get partition(): MeteringState | undefined {
    return this.committed.get(names.PARTITION_DOCUMENT)?.document as MeteringState | undefined;
  }

  get now(): number {
    return this.at;
  }

  documentNames(prefix: string): string[] {
    return [...this.committed.keys()].filter((name) => name.startsWith(prefix)).sort();
  }

  text(name: string): string | undefined {
    return this.committed.get(name)?.text;
  }

  emissions(): WindowEmission[] {
    return this.effects.flatMap((effect) => (effect.kind === 'emit' ? [effect.body as WindowEmission] : []));
  }

  counts(metric: string): number {
    return this.effects.reduce((sum, effect) => {
      if (effect.kind !== 'count' || effect.metric !== metric) return sum;
      return sum + (('by' in effect && effect.by) || 1);
    }, 0);
  }

  private take(input: MeteringInput): void {
    this.fireTimers(input.at);
    if (input.kind === 'settings') this.settings = input.settings;
    else if (input.kind === 'archive') this.drain(input.records);
    else this.fold(input.event);
  }

  private fold(event: UsageEvent): void {
    const { tenant, subject: customer } = event;
    const windowName = names.windowDocument(
      tenant,
      windowStart(event.timestamp, this.settings.windowMs),
      customer,
    );
    const countersName = names.countersDocument(tenant, customer);
    const states = {
      window: this.read(windowName) as WindowState | null,
      counters: this.read(countersName) as CountersState | null,
      partition: this.read(names.PARTITION_DOCUMENT) as MeteringState | null,
    };
    this.entry += 1;
    const place: AsOf = { entry: `${this.at}-${this.entry}`, index: this.entry % 7 };
    const folded = foldUsage(event, place, states, this.context(tenant, customer));
    this.write(windowName, states.window, folded.window);
    this.write(countersName, states.counters, folded.counters);
    this.write(names.PARTITION_DOCUMENT, states.partition, folded.partition);
    if (folded.verdict === 'cold') this.emitted.push({ kind: 'cold', event, place });
    this.counted.push({ event, at: this.at, verdict: folded.verdict, revision: folded.revision });
    this.apply(folded.effects);
  }

  private fireTimers(until: number): void {
    for (;;) {
      let next: [id: string, dueAt: number] | undefined;
      for (const timer of this.timers) {
        if (timer[1] <= until && (next === undefined || timer[1] < next[1])) next = timer;
      }
      if (next === undefined) break;
      this.timers.delete(next[0]);
      this.at = Math.max(this.at, next[1]);
      this.fire(next[0]);
    }
    this.at = Math.max(this.at, until);
  }

  private fire(id: string): void {
    const { kind, tenant, customer } = parseMeteringTimer(id);
    const context = this.context(tenant, customer);
    const document = this.read(id);
    if (kind === 'counters') {
      const { counters, effects } = foldCountersTimer(document as CountersState | null, context);
      this.write(id, document, counters);
      this.apply(effects);
      return;
    }
    const partition = this.read(names.PARTITION_DOCUMENT) as MeteringState | null;
    const folded = foldWindowTimer({ window: document as WindowState | null, partition }, context);
    this.write(id, document, folded.window);
    this.write(names.PARTITION_DOCUMENT, partition, folded.partition);
    this.apply(folded.effects);
  }

  private context(tenant: string, customer: string): MeteringContext {
    const { at, settings, step } = this;
    return { tenant, customer, at, settings, names, step };
  }

  private read(name: string): MeteringDocument | null {
    const written = this.written.get(name);
    return written === undefined ? (this.committed.get(name)?.document ?? null) : written;
  }

  /** What is the same object is a draft of this step, or was not changed. */
  private write(name: string, before: MeteringDocument | null, after: MeteringDocument | null): void {
    if (after !== before) this.written.set(name, after);
  }

  private apply(effects: readonly Effect[]): void {
    for (const effect of effects) {
      this.effects.push(effect);
      if (effect.kind === 'timer') {
        expect(effect.dueAt, effect.id).to.be.at.least(this.at);
        this.timers.set(effect.id, effect.dueAt);
      }
      if (effect.kind === 'emit') {
        this.emitted.push({ kind: 'window', emission: structuredClone(effect.body) as WindowEmission });
      }
      if (effect.kind === 'unindex')
        expect(this.indexes.get(effect.index)?.delete(effect.member)).to.equal(true);
      if (effect.kind === 'index') {
        expect(effect.member).to.equal(String(effect.score));
        const members = this.indexes.get(effect.index) ?? new Set<string>();
        expect(members.has(effect.member)).to.equal(false);
        this.indexes.set(effect.index, members.add(effect.member));
      }
    }
  }

  /** What the sink does: windows replace what is older, events of cold windows correct what is there. */
  private drain(records: number): void {
    for (const record of this.outbox.splice(0, records)) {
      if (record.kind === 'window') {
        const { emission, at: _at, ...window } = record.emission;
        const name = names.windowDocument(window.tenant, window.start, window.customer);
        const known = this.archive.get(name);
        if (known !== undefined) expectNewer(window, known);
        this.archive.set(name, window);
        this.confirmed = emission;
      } else {
        const { tenant, subject, timestamp } = record.event;
        const start = windowStart(timestamp, this.settings.windowMs);
        const name = names.windowDocument(tenant, start, subject);
        const known = this.archive.get(name) ?? null;
        const corrected = correct(known, [record], this.settings);
        if (known !== null) expectNewer(corrected, known);
        this.archive.set(name, corrected);
      }
    }
    const before = this.read(names.PARTITION_DOCUMENT) as MeteringState | null;
    const after = foldArchived(before, { upTo: this.confirmed }, { step: this.step });
    this.write(names.PARTITION_DOCUMENT, before, after);
  }

  private commit(): this {
    for (const [name, { document, text }] of this.committed) {
      expect(encode(name, document), 'a committed document was changed').to.equal(text);
    }
    for (const [name, document] of this.written) {
      if (document === null) {
        this.committed.delete(name);
        continue;
      }
      const text = encode(name, document);
      const decoded = decode(name, text);
      expect(comparable(decoded)).to.deep.equal(comparable(document));
      this.committed.set(name, { document: this.forgets(this.stepNumber) ? decoded : document, text });
    }
    // A step's verdicts lie before its windows.
    this.outbox.push(...this.emitted.filter(({ kind }) => kind === 'cold'));
    this.outbox.push(...this.emitted.filter(({ kind }) => kind === 'window'));
    this.emitted = [];
    this.written = new Map();
    this.step = {};
    this.stepNumber += 1;
    return this;
  }
}

function expectNewer(window: StoredWindow, than: StoredWindow): void {
  expect(window.revision).to.equal(than.revision + 1);
  expect(order(window)).to.be.greaterThan(order(than));
}

/** Entries are `<ms>-<number>`, and the simulation never uses a number twice. */
function order({ asOf }: StoredWindow): number {
  return Number(asOf[0].split('-')[1]);
}

function encode(name: string, document: MeteringDocument): string {
  if (name === names.PARTITION_DOCUMENT) return encodeMetering(document as MeteringState);
  return 'minutes' in document ? encodeCounters(document) : encodeWindow(document as WindowState);
}

function decode(name: string, text: string): MeteringDocument {
  if (name === names.PARTITION_DOCUMENT) return decodeMetering(text);
  return name.startsWith('counters:') ? decodeCounters(text) : decodeWindow(text);
}

/** Without what only a step knows. */
function comparable(document: MeteringDocument): unknown {
  if (!('minutes' in document)) return { ...document, owner: undefined };
  const { minutes, hours, days, nameBytes } = document;
  const slots = [minutes, hours, days].map((map) =>
    [...map].map(([start, slot]) => [start, { ...slot, owner: undefined }]),
  );
  return { nameBytes, slots };
}
