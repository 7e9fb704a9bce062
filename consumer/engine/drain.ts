import type { Logger } from '../../shared/logging.js';
import { NewerEntryError } from './entry-buffer.js';
import { GaveUpError, retryWhileAway } from './retry.js';
import { UnknownEntryError } from './unknown-entry-error.js';

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5000;
const FAILS = 'sink failed; it is tried again until it works';
const STOPS = 'sink stops: a newer worker wrote this, and one must take the partition';

/** Carries what leaves a partition to where it goes, at its own pace, until the partition is given up. */
export abstract class Drain {
  private isStopped = false;
  private wakeUp: (() => void) | undefined;
  private pendingWake = true;
  private wakes = false;

  constructor(
    private readonly sinkName: string,
    protected readonly log: Logger,
    /** How often it looks without being woken, in ms. */
    private readonly pollMs: number,
    /** Told when it stands before what a newer worker wrote, and when it goes on. */
    private readonly onStop: (stops: boolean) => void,
  ) {}

  /** Something was appended. */
  wake(): void {
    this.pendingWake = true;
    if (this.wakes) this.wakeUp?.();
  }

  stop(): void {
    this.isStopped = true;
    this.wakeUp?.();
  }

  /** Runs until stopped or fenced; never throws. */
  async run(): Promise<void> {
    let failing = false;
    for (let retryMs = RETRY_MS_MIN; !this.isStopped; ) {
      try {
        this.pendingWake = false;
        await this.drain();
        if (failing) this.log.info({ sink: this.sinkName }, 'sink works again');
        failing = false;
        this.onStop(false);
        retryMs = RETRY_MS_MIN;
        await this.sleep();
      } catch (error) {
        if (error instanceof GaveUpError) return;
        const stops = error instanceof UnknownEntryError || error instanceof NewerEntryError;
        this.onStop(stops);
        // Once, not at every attempt: it may be away for hours.
        const level = failing ? 'debug' : 'error';
        this.log[level]({ err: error, sink: this.sinkName }, stops ? STOPS : FAILS);
        failing = true;
        this.failed();
        await this.pause(retryMs, false);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      }
    }
  }

  /** Writes everything there is. @throws to be called again later */
  protected abstract drain(): Promise<void>;

  /** After a failure: whatever was read ahead is to be read again. */
  protected failed(): void {}

  protected get stopped(): boolean {
    return this.isStopped;
  }

  protected retry<T>(operation: () => Promise<T>): Promise<T> {
    return retryWhileAway(operation, () => !this.isStopped);
  }

  /** Until something is appended, at most `pollMs`. */
  private sleep(): Promise<void> {
    return this.pendingWake ? Promise.resolve() : this.pause(this.pollMs, true);
  }

  /** @param wakes whether something new in the outbox ends it; after a failure it must not */
  private pause(ms: number, wakes: boolean): Promise<void> {
    if (this.isStopped) return Promise.resolve();
    this.wakes = wakes;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.wakeUp = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.wakeUp = done;
    });
  }
}
