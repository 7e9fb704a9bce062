/**
 * A DDSketch of latencies: bucket → how many lie in it. The buckets grow by 2 % each, so that any quantile is right
 * within 1 %, and two sketches are merged by adding them. `rules/latency-sketch.ts` fills and reads it.
 */
export type LatencySketch = Map<number, number>;

/** `[bucket, count, bucket, count, …]`, lowest bucket first: how a sketch lies in documents, outbox and Postgres. */
export function encodeSketch(sketch: LatencySketch): number[] {
  const flat: number[] = [];
  for (const bucket of [...sketch.keys()].sort((a, b) => a - b)) flat.push(bucket, sketch.get(bucket)!);
  return flat;
}

export function decodeSketch(flat: readonly number[]): LatencySketch {
  const sketch: LatencySketch = new Map();
  for (let i = 0; i + 1 < flat.length; i += 2) sketch.set(flat[i]!, flat[i + 1]!);
  return sketch;
}
