import type { Redis } from 'ioredis';
import { Gauge, type Registry } from 'prom-client';
import { readMemory } from '../../shared/redis/memory.js';

/** How full Redis is, asked when somebody looks. While it is away, or does not say, the last values stay. */
export class MemoryMetrics {
  private readonly used: Gauge;
  private readonly max: Gauge;
  private reading: Promise<void> | undefined;

  constructor(
    registry: Registry,
    private readonly redis: Redis,
  ) {
    const gauge = (name: string, help: string) =>
      new Gauge({ name, help, registers: [registry], collect: () => this.refresh() });
    this.used = gauge('weir_redis_memory_used_bytes', 'Memory of Redis that counts against its bound.');
    this.max = gauge('weir_redis_memory_max_bytes', 'The bound (maxmemory) of Redis; 0: none.');
    for (const each of [this.used, this.max]) each.set(0);
  }

  /** Both are collected at once: one read serves them. */
  private refresh(): Promise<void> {
    this.reading ??= this.read().finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private async read(): Promise<void> {
    const memory = await readMemory(this.redis).catch(() => undefined);
    if (memory === undefined) return;
    this.used.set(memory.usedBytes);
    this.max.set(memory.maxBytes);
  }
}
