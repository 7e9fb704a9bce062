import type { Redis } from 'ioredis';
import type { Appender } from '../../shared/append/appender.js';
import type { Logger } from '../../shared/logging.js';
import type { Slot } from '../slots.js';
import type { StoreGate } from '../store-gate.js';
import { isStoreThere } from './ask-worker.js';

export const REPORT_RETRY_INTERVAL_MS = 500;
/** Reports of one partition that are sent together. */
const REPORTS_PER_STEP = 256;

export interface ReportOptions {
  readonly redis: Redis;
  readonly gate: StoreGate;
  /** Has room beyond what requests may fill: what was given away is recorded even where nothing more is asked. */
  readonly appender: Appender;
  /** Reports that may wait. */
  readonly reportsMax: number;
  readonly log: Logger;
}

export interface Report {
  readonly slot: Slot;
  /** The message as JSON. Its id makes a repeat harmless. */
  readonly text: string;
  /** Sent only once this has settled: the message that it is about may still be on its way. */
  readonly after?: Promise<unknown> | undefined;
}

interface Waiting extends Report {
  readonly tried: () => void;
}

/** Of one partition, in the order in which they were made. */
interface Queue {
  readonly slot: Slot;
  readonly reports: Waiting[];
  sending: Promise<void> | undefined;
}

/**
 * Reports about requests that nobody decided, on their way into the stream.
 *
 *   add ──> waiting (per partition) ──(at once; every 500 ms; when the connection is ready)──> appended
 *              ▲                                                                  │
 *              └───────────────────── not appended: the store is away, or full <──┘
 *
 * They are in memory alone until then: with the process, those that wait are lost.
 */
export class FailOpenReports {
  private readonly queues = new Map<string, Queue>();
  private waiting = 0;
  private timer: NodeJS.Timeout | undefined;
  private readonly onReady = (): void => void this.sendAll();

  constructor(private readonly options: ReportOptions) {}

  start(): void {
    this.options.redis.on('ready', this.onReady);
    this.timer = setInterval(this.onReady, REPORT_RETRY_INTERVAL_MS);
    this.timer.unref();
  }

  /** One last try. What is lost is in the log. */
  async stop(): Promise<void> {
    this.options.redis.off('ready', this.onReady);
    clearInterval(this.timer);
    await this.sendAll();
    if (this.waiting > 0)
      this.options.log.error({ reports: this.waiting }, 'undecided admissions not reported');
  }

  /** Reports that are not in the stream. */
  get unreported(): number {
    return this.waiting;
  }

  get hasRoom(): boolean {
    return this.waiting < this.options.reportsMax;
  }

  /** The caller makes sure that there is room. @returns when it was tried once, or could not be. Never rejects */
  add(report: Report): Promise<void> {
    return new Promise((resolve) => {
      let queue = this.queues.get(report.slot.name);
      if (queue === undefined) {
        queue = { slot: report.slot, reports: [], sending: undefined };
        this.queues.set(report.slot.name, queue);
      }
      queue.reports.push({ ...report, tried: resolve });
      this.waiting++;
      void this.send(queue);
    });
  }

  private async sendAll(): Promise<void> {
    await Promise.all([...this.queues.values()].map((queue) => this.send(queue)));
  }

  private send(queue: Queue): Promise<void> {
    queue.sending ??= this.sendWhilePossible(queue).finally(() => {
      queue.sending = undefined;
    });
    return queue.sending;
  }

  private async sendWhilePossible(queue: Queue): Promise<void> {
    while (queue.reports.length > 0 && (await this.sendSome(queue)));
    for (const { tried } of queue.reports) tried();
  }

  /** @returns whether it makes sense to go on */
  private async sendSome(queue: Queue): Promise<boolean> {
    const { redis, gate, appender } = this.options;
    if (!isStoreThere(redis, gate)) return false;
    const some = queue.reports.slice(0, REPORTS_PER_STEP);
    await Promise.all(some.map(({ after }) => after));
    const outcomes = await appender.appendAll(
      queue.slot.keys,
      some.map(({ text }) => text),
    );
    const left: Waiting[] = [];
    some.forEach((report, i) => {
      if (outcomes[i]!.kind === 'appended') report.tried();
      else left.push(report);
    });
    queue.reports.splice(0, some.length, ...left);
    this.waiting -= some.length - left.length;
    return left.length === 0;
  }
}
