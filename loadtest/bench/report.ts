import { cpus } from 'node:os';

/** One line of the report. */
export interface Row {
  /** `a` to `e`, as in docs/benchmarks.md. */
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
