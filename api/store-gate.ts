import type { Redis } from 'ioredis';
import { claimInstallation, evictionDefect, type Installation } from '../shared/installation.js';
import type { Keys } from '../shared/keys.js';
import type { Logger } from '../shared/logging.js';
import { assertRights } from '../shared/redis/rights.js';
import { StoreUnavailable } from '../shared/redis/store-unavailable.js';
import { SetupError } from '../shared/setup-error.js';

const RECHECK_INTERVAL_MS = 5000;

export interface StoreGateOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly installation: Installation;
  readonly log: Logger;
  /** Called once when the data was written with another number of partitions, or a right is missing: nothing would be true. */
  readonly onMismatch: (error: SetupError) => void;
}

/**
 * Nothing is read or appended before the partition count of the data is known to be ours: with another one a
 * user's state would be looked for in the wrong place. The API starts without Redis; the check follows when the
 * connection comes, and is repeated, because the record goes with the data (FLUSHALL).
 */
export class StoreGate {
  private open = false;
  private checking = false;
  private warned = false;
  private timer: NodeJS.Timeout | undefined;
  private readonly onReady = (): void => void this.check();

  constructor(private readonly options: StoreGateOptions) {}

  start(): void {
    this.options.redis.on('ready', this.onReady);
    this.timer = setInterval(() => void this.check(), RECHECK_INTERVAL_MS);
    this.timer.unref();
  }

  stop(): void {
    this.options.redis.off('ready', this.onReady);
    clearInterval(this.timer);
  }

  /** @throws StoreUnavailable until the partition count was checked */
  pass(): void {
    if (!this.open) throw new StoreUnavailable('The store has not answered since this process started.');
  }

  get isOpen(): boolean {
    return this.open;
  }

  async check(): Promise<void> {
    const { redis, keys, installation, log, onMismatch } = this.options;
    if (this.checking || redis.status !== 'ready') return;
    this.checking = true;
    try {
      if (!this.warned) await assertRights(redis, keys, (line) => log.warn(line));
      await claimInstallation(redis, keys, installation);
      this.open = true;
      await this.warnOnEviction();
    } catch (error) {
      if (error instanceof SetupError) {
        this.open = false;
        this.stop();
        onMismatch(error);
      } else {
        log.debug({ err: error }, 'partition count could not be checked yet');
      }
    } finally {
      this.checking = false;
    }
  }

  private async warnOnEviction(): Promise<void> {
    if (this.warned) return;
    const defect = await evictionDefect(this.options.redis);
    this.warned = true;
    if (defect !== undefined) this.options.log.warn(defect);
  }
}
