import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { Script } from '../../shared/redis/script.js';
import type { Partition } from '../../shared/topics.js';
import { FencedError } from './fenced-error.js';
import type { Lease } from './lease.js';
import type { Memory } from './memory.js';
import type { Processor } from './processor.js';

const script = new Script(import.meta.url, 'begin-again.lua');

/** How long a partition without a past waits to hear whether it really has none. */
const ASK_MS_MAX = 5000;

export interface BeginAgainOptions {
  readonly redis: Redis;
  readonly partition: Partition;
  readonly keys: PartitionKeys;
  readonly lease: Lease;
  readonly processor: Processor;
  readonly memory: Memory | undefined;
  readonly log: Logger;
}

/**
 * A partition that was never committed is new, or Redis has lost it (FLUSHALL, an empty disk). Only others can tell. If
 * they remember, the partition begins with what the processor makes of that: what it decides and makes from now on must
 * fit what there was. Who is away is waited for, but not for long: better to decide.
 * @throws FencedError
 */
export async function beginAgain(options: BeginAgainOptions): Promise<void> {
  const { redis, partition, keys, lease, processor, memory, log } = options;
  if (lease.head.seq > 0 || memory === undefined || processor.bornAgain === undefined) return;
  const recalled = await Promise.race([
    memory.recall(partition).catch(() => null),
    sleep(ASK_MS_MAX, null, { ref: false }),
  ]);
  if (recalled === null) log.warn('nobody says whether this partition is new: it begins as if it were');
  if (recalled === null || recalled === undefined) return;
  const [seconds, micros] = await redis.time();
  const documents = processor.bornAgain(
    Number(seconds) * 1000 + Math.floor(Number(micros) / 1000),
    recalled.what,
  );
  const written = await script.run(
    redis,
    [keys.lease, keys.head, ...documents.map(([name]) => keys.doc(name))],
    [lease.value, ...documents.map(([name, document]) => processor.encode(name, document))],
  );
  if (written === 0) throw new FencedError('begin again');
  if (recalled.isLoss)
    log.error('Redis has lost this partition: it begins with what Postgres remembers of it');
}
