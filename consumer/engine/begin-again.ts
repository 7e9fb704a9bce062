import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { Script } from '../../shared/redis/script.js';
import type { Partition } from '../../shared/topics.js';
import type { Archive } from './archive.js';
import { FencedError } from './fenced-error.js';
import type { Lease } from './lease.js';
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
  readonly archive: Archive | undefined;
  readonly log: Logger;
}

/**
 * A partition that was never committed is new, or Redis has lost it (FLUSHALL, an empty disk). Only the archive can
 * tell. If it remembers, the partition begins with what the processor says, so that what it makes from now on
 * does not replace what the archive has. An archive that is away is waited for, but not for long: better to decide.
 * @throws FencedError
 */
export async function beginAgain(options: BeginAgainOptions): Promise<void> {
  const { redis, partition, keys, lease, processor, archive, log } = options;
  if (lease.head.seq > 0 || archive === undefined || processor.bornAgain === undefined) return;
  const remembers = await Promise.race([
    archive.remembers(partition).catch(() => undefined),
    sleep(ASK_MS_MAX, undefined, { ref: false }),
  ]);
  if (remembers === undefined) log.warn('the archive does not say whether this partition is new');
  if (remembers !== true) return;
  const [seconds, micros] = await redis.time();
  const documents = processor.bornAgain(Number(seconds) * 1000 + Math.floor(Number(micros) / 1000));
  const written = await script.run(
    redis,
    [keys.lease, keys.head, ...documents.map(([name]) => keys.doc(name))],
    [lease.value, ...documents.map(([name, document]) => processor.encode(name, document))],
  );
  if (written === 0) throw new FencedError('begin again');
  log.error('Redis has lost this partition, the archive has not: what it has is corrected there');
}
