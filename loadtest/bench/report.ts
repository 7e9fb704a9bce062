import { cpus } from 'node:os';
import { type Comparison, type Figures, inThousands, type Percentiles } from './figures.js';

/** One line of the report. */
export interface Row {
  /** `a` to `m`, as in docs/benchmarks.md. */
  readonly part: string;
  readonly what: string;
  readonly ours: string;
  readonly peer?: string;
  /** Ours to the peer. */
  readonly ratio?: string;
  readonly goal?: string;
  /** undefined: there is no goal. */
  readonly met?: boolean;
}

/** Ours against a peer, with a goal for the ratio where there is one. */
export function comparisonRow(
  part: string,
  what: string,
  { ours, peer, ratio }: Comparison,
  goal?: number,
): Row {
  return {
    ...{ part, what, ours: inThousands(ours), peer: inThousands(peer), ratio: shownRatio(ratio) },
    ...(goal === undefined ? {} : { goal: `>= ${goal}`, met: ratio.median >= goal }),
  };
}

export function shownRatio({ min, median, max }: Figures): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}

/** @param times in ms */
export function shownPercentiles({ p50, p99 }: Percentiles): string {
  return `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
}

export function shownBytes(bytes: number): string {
  return `${bytes.toFixed(1)} B`;
}

const TITLES = ['', 'what', 'weir', 'peer', 'ratio', 'goal', ''] as const;

/** A table for a terminal: columns as wide as their widest cell. */
export function asText(rows: readonly Row[]): string {
  const lines = [TITLES, ...rows.map(cells)];
  const widths = TITLES.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The same as a Markdown table. */
export function asMarkdown(rows: readonly Row[]): string {
  const lines = [TITLES, TITLES.map(() => '---'), ...rows.map(cells)];
  return lines.map((line) => `| ${line.join(' | ')} |`).join('\n');
}

function cells({ part, what, ours, peer = '', ratio = '', goal = '', met }: Row): string[] {
  return [`(${part})`, what, ours, peer, ratio, goal, met === undefined ? '' : met ? 'ok' : 'MISSED'];
}

export function machine(redisVersion: string): string {
  const cores = cpus();
  const cpu = cores[0]?.model.trim() ?? 'unknown CPU';
  return `${cpu}, ${cores.length} cores, Node ${process.version}, Redis ${redisVersion} (AOF everysec), ${process.platform}`;
}
