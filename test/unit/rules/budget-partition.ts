import { expect } from 'chai';
import {
  type BudgetContext,
  type BudgetFolded,
  type BudgetStates,
  foldBudgetMessage,
  foldBudgetTimer,
  parseBudgetTimer,
  pastWindowsOf,
} from '../../../rules/budgets.js';
import type { BudgetSettings } from '../../../shared/budget-settings.js';
import type { Effect } from '../../../shared/effects.js';
import * as names from '../../../shared/keys.js';
import { admissionKey } from '../../../shared/messages/admissions.js';
import type { BudgetSnapshot, LedgerEntry } from '../../../shared/messages/budget-emissions.js';
import type { Message } from '../../../shared/messages/message.js';
import type { AdmissionDocument, BudgetState, PastWindow } from '../../../shared/state/budget-state.js';
import { type BudgetDocument, comparable, decode, encode, expiresAt } from './budget-documents.js';
import { TENANT } from './budget-messages.js';

export type BudgetInput =
  | { readonly kind: 'message'; readonly at: number; readonly message: Message }
  /** A restart with other settings. */
  | { readonly kind: 'settings'; readonly at: number; readonly settings: BudgetSettings }
  /** Redis loses the timer that ends a tenant's window. */
  | { readonly kind: 'timer_lost'; readonly at: number; readonly tenant: string };

export const SETTINGS: BudgetSettings = {
  windowMs: 30_000,
  holdMs: null,
  holdExpiry: 'release',
  keepMs: 3_600_000,
  dedupeMs: 300_000,
};

export const NAMES = { ...names, configuredIndex: names.CONFIGURED_INDEX };

export interface PartitionOptions {
  /** Whether documents that a step (by number) wrote are read back from their text, as a new owner does. */
  readonly forgets?: (step: number) => boolean;
  /** Redis forgets documents as soon as it may; else never. */
  readonly expires?: boolean;
}

/**
 * One partition of the topic `admissions` with what the engine promises, and nothing else: steps that take effect whole,
 * timers before messages, past windows only where they were asked for. It proves after every step that no committed
 * document was changed, and that every document survives its codec; and that a fold that throws changes nothing.
 */
export class BudgetPartition {
  /** As they were when they were made. */
  readonly effects: Effect[] = [];
  readonly deadLetters: string[] = [];
  readonly timers = new Map<string, number>();
  /** The index of tenants whose budgets were applied. */
  readonly configured = new Map<string, number>();
  private readonly committed = new Map<string, { document: BudgetDocument; text: string }>();
  private written = new Map<string, BudgetDocument | null>();
  private step: object = {};
  private stepNumber = 0;
  private at = 0;
  private readonly forgets: (step: number) => boolean;
  private readonly expires: boolean;

  constructor(
    private settings: BudgetSettings = SETTINGS,
    { forgets = (step) => step % 2 === 1, expires = true }: PartitionOptions = {},
  ) {
    this.forgets = forgets;
    this.expires = expires;
  }

  /** Folds the inputs in steps of the given sizes (the last one repeats). */
  run(inputs: readonly BudgetInput[], ...sizes: number[]): this {
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

  /** One message by itself. @returns its reply; undefined for a dead letter */
  ask<Reply = unknown>(at: number, message: Message): Reply {
    const before = this.effects.length;
    const dead = this.deadLetters.length;
    this.run([{ kind: 'message', at, message }]);
    const replies = this.effects.slice(before).flatMap((effect) => (effect.kind === 'reply' ? [effect] : []));
    const waits = message.reply !== undefined && this.deadLetters.length === dead;
    expect(replies.map(({ to }) => to)).to.deep.equal(waits ? [message.reply] : []);
    return replies[0]?.body as Reply;
  }

  /** Nothing comes until `at`: only timers. */
  idle(at: number): this {
    this.fireTimers(at);
    return this.commit();
  }

  get now(): number {
    return this.at;
  }

  document<Kind extends BudgetDocument>(name: string): Kind | null {
    return this.read(name) as Kind | null;
  }

  state(tenant = TENANT): BudgetState | null {
    return this.document(names.budgetDocument(tenant));
  }

  past(start: number, tenant = TENANT): PastWindow | null {
    return this.document(names.budgetWindowDocument(tenant, start));
  }

  admissions(id: string, tenant = TENANT): AdmissionDocument | null {
    return this.document(names.admissionDocument(tenant, admissionKey(id)));
  }

  documentNames(prefix: string): string[] {
    return [...this.committed.keys()].filter((name) => name.startsWith(prefix)).sort();
  }

  /** Everything that is committed. */
  texts(): Record<string, string> {
    return Object.fromEntries([...this.committed].map(([name, { text }]) => [`${name} `, text]).sort());
  }

  emitted<Body>(type: string): Body[] {
    return this.effects.flatMap((effect) =>
      effect.kind === 'emit' && effect.type === type ? [effect.body as Body] : [],
    );
  }

  ledger(): LedgerEntry[] {
    return this.emitted('ledger');
  }

  snapshots(): BudgetSnapshot[] {
    return this.emitted('budget_snapshot');
  }

  counts(metric: string): number {
    return this.effects.reduce((sum, effect) => {
      if (effect.kind !== 'count' || effect.metric !== metric) return sum;
      return sum + (('by' in effect ? effect.by : undefined) ?? 1);
    }, 0);
  }

  /** Takes one input, without committing. */
  take(input: BudgetInput): void {
    this.fireTimers(input.at);
    if (input.kind === 'settings') {
      this.settings = input.settings;
      return;
    }
    if (input.kind === 'timer_lost') {
      this.timers.delete(names.budgetResetTimer(input.tenant));
      return;
    }
    const { message } = input;
    const { admission } = message.data as { readonly admission?: string };
    const tenant = message.tenant ?? 'default';
    const name =
      admission === undefined ? undefined : names.admissionDocument(tenant, admissionKey(admission));
    this.fold(tenant, name, { message }, (states, context) => foldBudgetMessage(message, states, context));
  }

  commit(): this {
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
    if (this.expires) this.forgetExpired();
    this.written = new Map();
    this.step = {};
    this.stepNumber += 1;
    return this;
  }

  private fireTimers(until: number): void {
    for (;;) {
      let next: [id: string, dueAt: number] | undefined;
      for (const timer of this.timers) {
        if (timer[1] <= until && (next === undefined || isBefore(timer, next))) next = timer;
      }
      if (next === undefined) break;
      const [id, dueAt] = next;
      this.timers.delete(id);
      this.at = Math.max(this.at, dueAt);
      this.fire(id, dueAt);
    }
    this.at = Math.max(this.at, until);
  }

  /** Also what an engine does with a timer that was moved, but came nevertheless. */
  fire(id: string, dueAt: number): void {
    const timer = parseBudgetTimer(id);
    const name = timer.kind === 'hold' ? id : undefined;
    const fold = (states: BudgetStates, context: BudgetContext) =>
      foldBudgetTimer(id, dueAt, states, context);
    this.fold(timer.tenant, name, { timer: id }, fold);
  }

  private fold(
    tenant: string,
    admissions: string | undefined,
    what: Parameters<typeof pastWindowsOf>[0],
    run: (states: BudgetStates, context: BudgetContext) => BudgetFolded,
  ): void {
    const { at, settings, step } = this;
    const known = {
      state: this.state(tenant),
      admissions: admissions === undefined ? null : this.document<AdmissionDocument>(admissions),
    };
    const loaded = pastWindowsOf(what, known);
    const states: BudgetStates = {
      ...known,
      past: (start) => {
        const name = names.budgetWindowDocument(tenant, start);
        expect(loaded.includes(start) || this.written.has(name), `${name} was not asked for`).to.equal(true);
        return this.document<PastWindow>(name);
      },
    };
    const before = new Map(
      [...this.written].map(([name, document]) => [name, document && encode(name, document)]),
    );
    let folded: BudgetFolded;
    try {
      folded = run(states, { tenant, at, settings, names: NAMES, step });
    } catch (error) {
      for (const [name, document] of this.written) {
        expect(document && encode(name, document), 'a fold changed something and threw').to.equal(
          before.get(name),
        );
      }
      this.deadLetters.push((error as Error).message);
      return;
    }
    if (folded.state !== undefined) this.written.set(names.budgetDocument(tenant), folded.state);
    if (folded.admissions !== undefined) this.written.set(admissions!, folded.admissions);
    for (const [start, window] of folded.past ?? []) {
      this.written.set(names.budgetWindowDocument(tenant, start), window);
    }
    for (const effect of folded.effects) this.apply(effect);
  }

  private apply(effect: Effect): void {
    this.effects.push(structuredClone(effect));
    if (effect.kind === 'timer') {
      expect(effect.dueAt, effect.id).to.be.greaterThan(this.at);
      this.timers.set(effect.id, effect.dueAt);
    }
    if (effect.kind === 'index') this.configured.set(effect.member, effect.score);
    if (effect.kind === 'cancel_timer') this.timers.delete(effect.id);
  }

  private read(name: string): BudgetDocument | null {
    const written = this.written.get(name);
    return written === undefined ? (this.committed.get(name)?.document ?? null) : written;
  }

  private forgetExpired(): void {
    for (const [name, { document }] of this.committed) {
      const until = expiresAt(name, document);
      if (until !== undefined && until <= this.at) this.committed.delete(name);
    }
  }
}

/** As a sorted set has them: by time, then by id. */
function isBefore(one: [string, number], other: [string, number]): boolean {
  return one[1] < other[1] || (one[1] === other[1] && one[0] < other[0]);
}
