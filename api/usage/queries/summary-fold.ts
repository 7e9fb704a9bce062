import { mergeSketch } from '../../../rules/latency-sketch.js';
import type { LatencySketch } from '../../../shared/state/latency-sketch.js';
import type { Dimension } from '../../../shared/state/metering-state.js';
import type { StartRange } from '../../../shared/usage/hot-usage.js';
import type { UsageWindow } from '../../../shared/usage/usage-window.js';
import { Refusal } from '../../refusal.js';
import { averageMs, type LatencyView, percentiles } from './usage-figures.js';

export const GROUPINGS = ['endpoint', 'model'] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** Groups of all rows and of the total together, in bytes of answer. Names are of up to 512 characters, 3 kB escaped. */
export const GROUP_BYTES_MAX = 16 * 1_048_576;
/** `{"name":,"calls":1234567,"tokens":1234567890},`: what a group takes beside its name, also in CSV about. */
const FIGURES_BYTES = 64;

export interface SummaryOptions {
  readonly range: StartRange;
  /** Length of a row, in ms: a multiple of a window's. */
  readonly bucketMs: number;
  readonly groupBy: Grouping | undefined;
  /** Everything accepted up to this time is in the windows, ms. */
  readonly watermarkMs: number;
  /** A window closes so long after its end, in ms. */
  readonly latenessMs: number;
  readonly groupBytesMax?: number;
}

export interface NamedUsage {
  readonly name: string;
  readonly calls: number;
  readonly tokens: number;
}

export interface Summary extends LatencyView {
  readonly calls: number;
  readonly tokens: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Most calls first. Present where they were asked for. */
  readonly groups?: readonly NamedUsage[];
}

export interface SummaryRow extends Summary {
  /** ms since the epoch. */
  readonly start: number;
  readonly end: number;
  /** Every window of it, also those that nothing was counted in, is closed: only late events change it now. */
  readonly final: boolean;
  /** The range begins after the row does, or ends before it: never final, for the row is not all there. */
  readonly partial: boolean;
}

/** Folds windows, given in ascending order, into rows of one length, aligned to the epoch. Holds one row at a time. */
export class SummaryFold {
  private readonly totals = new Sums();
  private row: Sums | undefined;
  private rowStart = 0;
  private rowSettled = true;
  private groupBytes = 0;

  constructor(private readonly options: SummaryOptions) {}

  /** @returns the rows that are complete. @throws Refusal range_too_large */
  take(windows: readonly UsageWindow[]): SummaryRow[] {
    const { bucketMs, groupBy } = this.options;
    const complete: SummaryRow[] = [];
    for (const window of windows) {
      const start = window.start - (window.start % bucketMs);
      if (this.row === undefined || start !== this.rowStart) {
        complete.push(...this.end());
        this.row = new Sums();
        this.rowStart = start;
        this.rowSettled = true;
      }
      const dimension = groupBy === 'endpoint' ? window.byEndpoint : window.byModel;
      this.add(this.row, window, groupBy === undefined ? undefined : dimension);
      if (window.status === 'open' || window.settling) this.rowSettled = false;
    }
    return complete;
  }

  /** The last row, if any window came. @throws Refusal range_too_large */
  end(): SummaryRow[] {
    const { row, rowStart } = this;
    if (row === undefined) return [];
    this.row = undefined;
    this.add(this.totals, row, this.options.groupBy === undefined ? undefined : row.groups);
    const end = rowStart + this.options.bucketMs;
    const { range, watermarkMs, latenessMs } = this.options;
    const partial = rowStart < range.from || end > range.to;
    // From then on no event can be on time for any window of the row.
    const isOver = watermarkMs >= end + latenessMs;
    const final = !partial && this.rowSettled && isOver;
    return [{ start: rowStart, end, ...this.view(row), final, partial }];
  }

  /** All rows together; after `end`. */
  total(): Summary {
    return this.view(this.totals);
  }

  /** Counted before they are written, and while they are gathered: a row of a day may be too much alone. */
  private add(sums: Sums, other: Figures, groups: Dimension | undefined): void {
    this.groupBytes += sums.add(other, groups);
    const most = this.options.groupBytesMax ?? GROUP_BYTES_MAX;
    if (this.groupBytes <= most) return;
    throw tooLarge(
      `has groups that make more than ${most} bytes of answer: ask for a shorter range, ` +
        'a longer window or no groupBy',
    );
  }

  private view(sums: Sums): Summary {
    const { calls, tokens, inputTokens, outputTokens } = sums;
    const figures = { calls, tokens, inputTokens, outputTokens };
    if (!Object.values(figures).every(Number.isSafeInteger)) {
      throw tooLarge('has sums that are no exact numbers any more: ask for a shorter one');
    }
    const latency = { avgLatencyMs: averageMs(sums), ...percentiles(sums.latency) };
    if (this.options.groupBy === undefined) return { ...figures, ...latency };
    return { ...figures, ...latency, groups: sortedGroups(sums.groups) };
  }
}

type Figures = Omit<Sums, 'groups' | 'add'>;

/** Sums of windows, or of rows. */
class Sums {
  calls = 0;
  tokens = 0;
  inputTokens = 0;
  outputTokens = 0;
  latencyCount = 0;
  latencySumUs = 0;
  readonly latency: LatencySketch = new Map();
  readonly groups: Dimension = new Map();

  /** @returns bytes of answer that the new groups take */
  add(other: Figures, groups: Dimension | undefined): number {
    this.calls += other.calls;
    this.tokens += other.tokens;
    this.inputTokens += other.inputTokens;
    this.outputTokens += other.outputTokens;
    this.latencyCount += other.latencyCount;
    this.latencySumUs += other.latencySumUs;
    mergeSketch(this.latency, other.latency);
    let bytes = 0;
    for (const [name, { calls, tokens }] of groups ?? []) {
      const group = this.groups.get(name);
      if (group === undefined) {
        this.groups.set(name, { calls, tokens });
        bytes += Buffer.byteLength(JSON.stringify(name)) + FIGURES_BYTES;
      } else {
        group.calls += calls;
        group.tokens += tokens;
      }
    }
    return bytes;
  }
}

function sortedGroups(groups: Dimension): NamedUsage[] {
  return Array.from(groups, ([name, { calls, tokens }]) => ({ name, calls, tokens })).sort(
    (a, b) => b.calls - a.calls || (a.name < b.name ? -1 : 1),
  );
}

function tooLarge(message: string): Refusal {
  return new Refusal('range_too_large', `The range ${message}.`, { errors: [{ path: 'to', message }] });
}
