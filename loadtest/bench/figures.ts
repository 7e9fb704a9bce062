export interface Figures {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export function figuresOf(values: readonly number[]): Figures {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: sorted[0]!, median: percentile(sorted, 0.5), max: sorted.at(-1)! };
}

/** @param sorted ascending */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

export function percentilesOf(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
}

/** Ours against a peer, measured in turn, round by round: the ratio of each round, because machines drift. */
export interface Comparison {
  readonly ours: Figures;
  readonly peer: Figures;
  readonly ratio: Figures;
  readonly ratios: readonly number[];
}

export function compare(rounds: readonly (readonly [ours: number, peer: number])[]): Comparison {
  const ratios = rounds.map(([ours, peer]) => ours / peer);
  return {
    ours: figuresOf(rounds.map(([ours]) => ours)),
    peer: figuresOf(rounds.map(([, peer]) => peer)),
    ratio: figuresOf(ratios),
    ratios,
  };
}

export function inThousands({ min, median, max }: Figures): string {
  const thousands = (perSecond: number) => (perSecond / 1000).toFixed(1);
  return `${thousands(median)}k/s (${thousands(min)}-${thousands(max)})`;
}
