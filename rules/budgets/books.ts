import type { AdmissionCountEffect, Effect } from '../../shared/effects.js';
import type { Remaining } from '../../shared/messages/admissions.js';
import { BUDGET_SNAPSHOT, LEDGER, type LedgerEntry } from '../../shared/messages/budget-emissions.js';
import { type BudgetConfig, type Priority, WINDOW_LEVELS_MAX } from '../../shared/state/budget-config.js';
import type {
  Admission,
  AdmissionDocument,
  BudgetState,
  BudgetWindow,
  PastWindow,
} from '../../shared/state/budget-state.js';
import { withAdmission, withChanged, withOther } from './admission-document.js';
import { FORGET_AFTER_MS, newState, rememberedState } from './born-again.js';
import type { BudgetContext, BudgetFolded, BudgetStates, Posting } from './context.js';
import { availableAt } from './decide.js';
import { configOf, type Path, type Tree, treeOf } from './levels.js';
import {
  copyOfState,
  draftOfPast,
  draftOfState,
  newWindow,
  pastWindow,
  snapshotOf,
  useOf,
  windowLength,
} from './window.js';

type Changing<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * The books of one tenant while one input is folded: every change of what is held or settled goes through `post`, which
 * changes the window and writes the ledger in one. Copies documents before their first change.
 */
export class Books {
  readonly at: number;
  private readonly effects: Effect[] = [];
  private state: BudgetState | null;
  private changed = false;
  /** Windows that are over, as changed. */
  private readonly past: PastWindow[] = [];
  /** Start of the one that this input ended. */
  private ended: number | undefined;
  private admissionsAfter: AdmissionDocument | undefined;

  constructor(
    private readonly states: BudgetStates,
    readonly context: BudgetContext,
    private readonly replyTo: string | undefined,
  ) {
    this.at = context.at;
    this.state = rememberedState(states.state, context.at);
  }

  /** Ends the open window if that was due by `until`, ms: a window whose timer was lost would never end. */
  endWindowDue(until: number): void {
    const window = this.state?.window ?? null;
    if (window !== null && window.end <= until) this.endWindow();
  }

  /** As this input has left them until now. */
  get admissions(): AdmissionDocument | null {
    return this.admissionsAfter ?? this.states.admissions;
  }

  get present(): Readonly<BudgetState> | null {
    return this.state;
  }

  get config(): BudgetConfig {
    return configOf(this.state);
  }

  get tree(): Tree {
    return treeOf(this.config);
  }

  get windowMs(): number {
    return windowLength(this.config, this.context.settings);
  }

  /** The state, to be changed. */
  draft(): BudgetState {
    const { at, step } = this.context;
    this.changed = true;
    this.state = this.state === null ? newState(at, null, step) : draftOfState(this.state, step);
    return this.state;
  }

  /** The open window, begun where there is none; to be changed. */
  openWindow(): BudgetWindow {
    const state = this.draft();
    if (state.window === null) {
      state.window = newWindow(this.at, this.windowMs, state.lastEnd);
      this.setResetTimer(state.window.end);
    }
    return state.window;
  }

  /** The window of an admission, to be changed; undefined: it is over, and nothing of it is kept any more. */
  windowOf({ window: start }: Admission): BudgetWindow | undefined {
    if (this.state?.window?.start === start) return this.draft().window!;
    const known = this.past.find((window) => window.start === start);
    if (known !== undefined) return known;
    const past = this.states.past(start);
    if (past === null || (past.keepUntil !== null && this.at >= past.keepUntil)) return undefined;
    const draft = draftOfPast(past, this.context.step);
    this.past.push(draft);
    return draft;
  }

  /** @throws when its window is not there: what is held could not be given back */
  windowOfHeld(admission: Admission): BudgetWindow {
    const window = this.windowOf(admission);
    if (window === undefined) throw new Error('the window of an admission that is held is not there');
    return window;
  }

  /** One admission of this window is held no longer. */
  endHold(window: BudgetWindow): void {
    window.holds -= 1;
    const state = this.draft();
    if (window !== state.window) state.pastHolds -= 1;
  }

  /**
   * Ends the open window. Nothing of it is kept unless holds are open or a late settle may give some of it back. What the
   * input is about may still throw: a draft of the step is left as it is.
   */
  private endWindow(): void {
    const { context, at } = this;
    this.state = copyOfState(this.state!, context.step);
    const window = this.state.window!;
    const state = this.nextEntry(window);
    this.write({
      tenant: context.tenant,
      epoch: state.epoch,
      seq: state.entries,
      at,
      kind: 'reset',
      window: window.start,
      path: [],
      held: 0,
      settled: 0,
    });
    this.past.push(pastWindow(window, this.config, context.step));
    this.ended = window.start;
    state.window = null;
    state.lastEnd = window.end;
    state.pastHolds += window.holds;
    const { keepMs, dedupeMs } = context.settings;
    this.keepState(window.end + Math.max(keepMs, dedupeMs, FORGET_AFTER_MS));
    this.count('budget_resets');
  }

  /** The only way to change what is held or settled. */
  post(window: BudgetWindow, admission: Admission, { kind, held, settled, tokens }: Posting): void {
    const { pipeline, priority } = admission;
    const path = this.pathIn(window, admission.path);
    for (const name of path) {
      const use = useOf(window, name);
      use.held += held;
      use.settled += settled;
    }
    const state = this.nextEntry(window);
    const entry: Changing<LedgerEntry> = {
      tenant: this.context.tenant,
      epoch: state.epoch,
      seq: state.entries,
      at: this.at,
      kind,
      window: window.start,
      path,
      held,
      settled,
      admission: admission.ids[0]!,
      pipeline,
      priority,
    };
    if (tokens !== undefined) entry.tokens = tokens;
    this.write(entry);
  }

  add(admission: Admission): void {
    this.admissionsAfter = withAdmission(this.admissions, admission, this.at);
  }

  /** Remembers one that is no retry of the newest: that stays the newest. */
  addOther(admission: Admission): void {
    this.admissionsAfter = withOther(this.admissions!, admission, this.at);
  }

  change(before: Admission, after: Admission): void {
    this.admissionsAfter = withChanged(this.admissions!, before, after);
  }

  /** Keeps other ends. */
  changeEnds(document: AdmissionDocument): void {
    this.admissionsAfter = document;
  }

  /** Whoever brings budgets back from Postgres sees that these were applied. */
  indexConfigured(): void {
    const { names, tenant } = this.context;
    const { appliedAt } = this.config;
    this.effects.push({ kind: 'index', index: names.configuredIndex, member: tenant, score: appliedAt });
  }

  reply(body: object): void {
    if (this.replyTo !== undefined) this.effects.push({ kind: 'reply', to: this.replyTo, body });
  }

  emit(type: string, body: object): void {
    this.effects.push({ kind: 'emit', type, body });
  }

  count(metric: AdmissionCountEffect['metric'], by?: number): void {
    this.effects.push(by === undefined ? { kind: 'count', metric } : { kind: 'count', metric, by });
  }

  countDecision(effect: AdmissionCountEffect): void {
    this.effects.push(effect);
  }

  setResetTimer(dueAt: number): void {
    const { names, tenant } = this.context;
    this.effects.push({ kind: 'timer', id: names.budgetResetTimer(tenant), dueAt });
  }

  setHoldTimer(key: string, dueAt: number): void {
    const { names, tenant } = this.context;
    this.effects.push({ kind: 'timer', id: names.admissionDocument(tenant, key), dueAt });
  }

  cancelHoldTimer(key: string): void {
    const { names, tenant } = this.context;
    this.effects.push({ kind: 'cancel_timer', id: names.admissionDocument(tenant, key) });
  }

  /** What each level of a path would still admit. */
  remaining(path: Path | undefined, priority: Priority): Remaining {
    const window = this.state?.window ?? null;
    const { levels = [] } = path ?? {};
    return levels.map((level) => [level.name, availableAt(level, window, priority)] as const);
  }

  /** All that the input has changed. Made for every message: without spreading, which costs more than the decision. */
  close(): BudgetFolded {
    const past = this.past.length === 0 ? undefined : this.closePast();
    const folded: Changing<BudgetFolded> = { effects: this.effects };
    if (this.changed) folded.state = this.state!;
    if (this.admissionsAfter !== undefined) folded.admissions = this.admissionsAfter;
    if (past !== undefined) folded.past = past;
    return folded;
  }

  /** Once nothing of a window is held it is sent to the archive, and again whenever it changes after that. */
  private closePast(): [number, PastWindow | null][] {
    const { tenant, settings } = this.context;
    const written: [number, PastWindow | null][] = [];
    for (const window of this.past) {
      if (window.holds === 0) {
        window.revision += 1;
        this.emit(BUDGET_SNAPSHOT, snapshotOf(window, tenant, this.state!.epoch));
        window.keepUntil ??= this.at + Math.max(settings.keepMs, settings.dedupeMs);
        this.keepState(window.keepUntil);
      }
      const kept = window.holds > 0 || window.refundable > 0;
      if (kept) written.push([window.start, window]);
      else if (window.start !== this.ended) written.push([window.start, null]);
    }
    return written;
  }

  /** Its windows and admissions refer to this ledger until then, ms. */
  private keepState(until: number): void {
    const state = this.draft();
    state.keepUntil = Math.max(state.keepUntil, until + FORGET_AFTER_MS);
  }

  /** A window that has all the levels it may have takes no more of those that were removed. */
  private pathIn(window: BudgetWindow, path: readonly string[]): readonly string[] {
    if (window.levels.size < WINDOW_LEVELS_MAX) return path;
    return path.filter((name) => window.levels.has(name) || this.tree.levels.has(name));
  }

  /** The next number of the ledger is taken, for an entry about this window. */
  private nextEntry(window: BudgetWindow): BudgetState {
    const state = this.draft();
    state.entries += 1;
    window.entries += 1;
    return state;
  }

  private write(entry: LedgerEntry): void {
    this.effects.push({ kind: 'emit', type: LEDGER, joins: true, body: entry });
  }
}
