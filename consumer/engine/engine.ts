import type { Redis } from 'ioredis';
import type { Keys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import type { ConsumerMetrics } from '../metrics.js';
import type { Complaints } from './complaints.js';
import type { Probe } from './probe.js';

/** Bounds and intervals of the engine; see shared/config.ts for what each means. */
export interface EngineSettings {
  readonly leaseTtlMs: number;
  readonly heartbeatMs: number;
  readonly batchMessagesMax: number;
  readonly stateCacheMax: number;
  readonly dedupeWindowMs: number;
  readonly dedupeIdsMax: number;
  readonly replyTtlMs: number;
  readonly deadLettersMax: number;
  readonly outboxMax: number;
  readonly outboxBytesMax: number;
  readonly archiveDelayMs: number;
  readonly archiveBatchMax: number;
}

/** What every part of a worker's engine is handed. */
export interface Engine {
  /** This worker process, as leases and heartbeats name it. */
  readonly workerId: string;
  /** Connection for everything that does not block. */
  readonly redis: Redis;
  readonly keys: Keys;
  readonly settings: EngineSettings;
  readonly log: Logger;
  readonly metrics: ConsumerMetrics;
  readonly complaints: Complaints;
  /** Opens a connection for one blocking read at a time. */
  readonly connectBlocking: (name: string) => Redis;
  readonly probe: Probe;
}
