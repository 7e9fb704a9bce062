import type { Redis } from 'ioredis';

const SCAN_COUNT = 1000;

/** Bytes of Redis by `MEMORY USAGE`: key, value and their allocation. */
export class MemoryUsage {
  constructor(private readonly redis: Redis) {}

  /** Sums over all keys of a pattern. @throws unless there are as many as expected */
  async of(pattern: string, expected?: number): Promise<{ readonly keys: number; readonly bytes: number }> {
    const names = new Set<string>();
    for await (const found of this.redis.scanStream({ match: pattern, count: SCAN_COUNT })) {
      for (const name of found as string[]) names.add(name);
    }
    if (expected !== undefined && names.size !== expected) {
      throw new Error(`${names.size} keys match ${pattern}, not ${expected}`);
    }
    const pipeline = this.redis.pipeline();
    for (const name of names) pipeline.memory('USAGE', name, 'SAMPLES', 0);
    const replies = (await pipeline.exec()) ?? [];
    let bytes = 0;
    for (const [error, used] of replies) {
      if (error !== null) throw error;
      bytes += Number(used);
    }
    return { keys: names.size, bytes };
  }
}
