import type { RedisServer } from './redis-server.js';
import type { Row } from './report.js';

/** What every part of a run is handed. */
export interface Bench {
  readonly redis: RedisServer;
  /** Of ours and the peer in turn. */
  readonly rounds: number;
  /** Share of the events and the seconds of a real run: below 1 to see that everything works. */
  readonly scale: number;
}

/** Measures one part. */
export type Part = (bench: Bench) => Promise<Row[]>;

/** So many of the `full` events (or seconds) as the run wants: a multiple of `unit`, at least one. */
export function scaled({ scale }: Pick<Bench, 'scale'>, full: number, unit = 1): number {
  return Math.max(1, Math.round((full * scale) / unit)) * unit;
}
