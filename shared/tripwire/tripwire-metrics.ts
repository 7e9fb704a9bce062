import type { Redis } from 'ioredis';
import { Gauge, type Registry } from 'prom-client';
import type { Keys } from '../keys.js';

/**
 * Which tripwires are tripped, in every process' metrics: read from Redis when somebody looks. While Redis is away the
 * values stay.
 */
export function watchTripwires(
  registry: Registry,
  redis: Redis,
  keys: Keys,
  rules: readonly { readonly name: string }[],
): void {
  const gauge = new Gauge({
    name: 'weir_tripwire_tripped',
    help: "1 while the rule's tripwire is tripped: it restricts nobody until it is re-armed.",
    labelNames: ['rule'],
    registers: [registry],
    async collect() {
      const read = async ({ name: rule }: { readonly name: string }): Promise<void> => {
        this.set({ rule }, await redis.hexists(keys.tripwire(rule).wire, 'tripped_at'));
      };
      await Promise.all(rules.map(read)).catch(() => undefined);
    },
  });
  for (const { name: rule } of rules) gauge.set({ rule }, 0);
}
