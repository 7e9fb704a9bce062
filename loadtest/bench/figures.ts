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

/** Ours against a peer, measured in turn, round by round: the ratio of each round, because machines drift. */
export interface Comparison {
  readonly ours: Figures;
  readonly peer: Figures;
  readonly ratio: Figures;
}

export function compare(rounds: readonly (readonly [ours: number, peer: number])[]): Comparison {
  return {
    ours: figuresOf(rounds.map(([ours]) => ours)),
    peer: figuresOf(rounds.map(([, peer]) => peer)),
    ratio: figuresOf(rounds.map(([ours, peer]) => ours / peer)),
  };
}

export function inThousands(perSecond: number): string {
  return `${(perSecond / 1000).toFixed(1)}k/s`;
}
