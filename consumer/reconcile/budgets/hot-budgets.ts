import type { Redis } from 'ioredis';
import { groupBy } from '../../../shared/group-by.js';
import { budgetDocument, budgetResetTimer, budgetWindowDocument, type Keys } from '../../../shared/keys.js';
import { decodeBudget, decodePastWindow } from '../../../shared/state/budget-codec.js';
import type { BudgetState, BudgetWindow } from '../../../shared/state/budget-state.js';
import { NewerDocumentError } from '../../../shared/state/state-codec.js';
import { partitionOf } from '../../../shared/topics.js';
import type { BudgetWindowKey } from './budget-window-key.js';

/** What a document says. */
export type Read<T> =
  | { readonly kind: 'none' }
  | { readonly kind: 'read'; readonly value: T }
  /** Written by a newer version. */
  | { readonly kind: 'newer' }
  | { readonly kind: 'broken' };

/** Documents of a tenant at one moment. */
export interface HotBudgets {
  readonly tenant: string;
  readonly partition: number;
  readonly state: Read<BudgetState>;
  /** Ended windows, by start; those that were asked for. */
  readonly past: ReadonlyMap<number, Read<BudgetWindow>>;
  /** When the timer is due that ends the open window, ms; null: there is none. */
  readonly resetAt: number | null;
}

/** What was asked for of a tenant, in the order of the names; null: Redis has none. */
export interface TenantDocuments {
  readonly state: Read<BudgetState>;
  readonly texts: readonly Nullable[];
  /** When the timers are due, ms. */
  readonly dueAt: readonly (number | null)[];
}

type Nullable = string | null;

/** Documents per MGET, so that no other client of Redis waits long. */
export const DOCUMENTS_PER_READ = 500;
const SCAN_COUNT = 1000;

/** The topic's documents in Redis. */
export class HotBudgetReader {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    /** Of the topic. */
    private readonly partitions: number,
  ) {}

  partitionOf(tenant: string): number {
    return partitionOf(tenant, tenant, this.partitions);
  }

  /**
   * All in one command, between two commits: the state says up to which entry of the ledger each of them goes.
   * @param starts of windows; at most DOCUMENTS_PER_READ
   */
  async read(tenant: string, starts: readonly number[]): Promise<HotBudgets> {
    const names = starts.map((start) => budgetWindowDocument(tenant, start));
    const { state, texts, dueAt } = await this.readWith(tenant, names, [budgetResetTimer(tenant)]);
    const past = starts.map((start, i) => [start, readText(texts[i] ?? null, soundPastWindow)] as const);
    const resetAt = dueAt[0] ?? null;
    return { tenant, partition: this.partitionOf(tenant), state, past: new Map(past), resetAt };
  }

  /** The states alone, in the order of the tenants; those of one partition at one moment. */
  async readStates(
    tenants: readonly string[],
  ): Promise<readonly (readonly [tenant: string, state: Read<BudgetState>])[]> {
    const states = new Map<string, Read<BudgetState>>();
    for (const [index, some] of groupBy(tenants, (tenant) => this.partitionOf(tenant))) {
      const base = this.keys.partition({ topic: 'admissions', index });
      const texts = await this.redis.mget(some.map((tenant) => base.doc(budgetDocument(tenant))));
      for (const [i, tenant] of some.entries()) states.set(tenant, readText(texts[i] ?? null, soundBudget));
    }
    return tenants.map((tenant) => [tenant, states.get(tenant)!]);
  }

  /** Any documents of a tenant, and timers, together with the state of its budgets; all at one moment. */
  async readWith(
    tenant: string,
    names: readonly string[],
    timers: readonly string[],
  ): Promise<TenantDocuments> {
    const base = this.keys.partition({ topic: 'admissions', index: this.partitionOf(tenant) });
    const documents = [budgetDocument(tenant), ...names].map((name) => base.doc(name));
    const { texts, scores } = await this.readAtOnce(documents, base.timers, timers);
    const [state = null, ...others] = texts;
    const dueAt = scores.map((score) => (score === null ? null : Number(score)));
    return { state: readText(state, soundBudget), texts: others, dueAt };
  }

  /**
   * The names of all documents that begin with `prefix`, in pieces, most of them once. By SCAN and not by an index: what
   * no index knows of must be found too. It goes through all keys of the server, so it is for a report only.
   */
  async *scan(prefix: string, signal: AbortSignal): AsyncGenerator<readonly string[]> {
    const pattern = this.keys.admissionsDocuments(prefix);
    let cursor = '0';
    do {
      signal.throwIfAborted();
      const [next, found] = await this.redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT);
      const names = found.flatMap((key) => this.keys.parseDocument(key)?.name ?? []);
      if (names.length > 0) yield names;
      cursor = next;
    } while (cursor !== '0');
  }

  /** Windows in Redis, as the names of documents and what they hold tell. */
  async *scanWindows(signal: AbortSignal): AsyncGenerator<readonly BudgetWindowKey[]> {
    for await (const names of this.scan('budget', signal)) {
      const found: BudgetWindowKey[] = [];
      for (const name of names) {
        const [, tenant, start] = /^budget-window:([^:]+):(\d+)$/.exec(name) ?? [];
        if (tenant !== undefined) found.push({ tenant, epoch: undefined, start: Number(start) });
        const owner = /^budget:([^:]+)$/.exec(name)?.[1];
        if (owner !== undefined) found.push(...(await this.openWindow(owner)));
      }
      yield found;
    }
  }

  private async readAtOnce(
    documents: readonly string[],
    sortedSet: string,
    members: readonly string[],
  ): Promise<{ readonly texts: Nullable[]; readonly scores: Nullable[] }> {
    if (members.length === 0) return { texts: await this.redis.mget([...documents]), scores: [] };
    const replies = await this.redis
      .multi()
      .mget([...documents])
      .zmscore(sortedSet, [...members])
      .exec();
    const [[, texts], [, scores]] = replies as [[null, Nullable[]], [null, Nullable[]]];
    return { texts, scores };
  }

  private async openWindow(tenant: string): Promise<BudgetWindowKey[]> {
    const { state } = await this.read(tenant, []);
    // What cannot be read is said by whoever compares it.
    if (state.kind === 'broken') return [{ tenant, epoch: undefined, start: UNREADABLE }];
    if (state.kind !== 'read' || state.value.window === null) return [];
    return [{ tenant, epoch: state.value.epoch, start: state.value.window.start }];
  }
}

/** Stands for the start of a window that nobody can read; later than every window. */
export const UNREADABLE = Number.MAX_SAFE_INTEGER;

export function readText<T>(text: string | null, decode: (text: string) => T): Read<T> {
  if (text === null) return { kind: 'none' };
  try {
    return { kind: 'read', value: decode(text) };
  } catch (error) {
    return error instanceof NewerDocumentError ? { kind: 'newer' } : { kind: 'broken' };
  }
}

/** @throws for what Postgres cannot be asked about, too */
function soundBudget(text: string): BudgetState {
  const state = decodeBudget(text);
  if (state.window !== null) requireSound(state.window);
  const { epoch, entries, lastEnd } = state;
  if (!isDate(epoch) || !isDate(lastEnd) || !Number.isSafeInteger(entries)) throw new Error('no state');
  return state;
}

/** @throws for what Postgres cannot be asked about, too */
function soundPastWindow(text: string): BudgetWindow {
  const window = decodePastWindow(text);
  requireSound(window);
  return window;
}

function requireSound({ start, entries, levels }: BudgetWindow): void {
  const uses = [...levels.values()].flatMap(({ held, settled }) => [held, settled]);
  const isSound = isDate(start) && Number.isSafeInteger(entries) && uses.every(Number.isFinite);
  if (!isSound) throw new Error('no window');
}

/** Whether it is a time that Postgres knows. */
export function isDate(ms: number): boolean {
  return Number.isSafeInteger(ms) && ms >= 0 && ms <= Date.UTC(9999, 0, 1);
}
