import type { Redis } from 'ioredis';
import type { Appender } from '../../shared/append/appender.js';
import type { Logger } from '../../shared/logging.js';
import { type CancelRequest, FAILED_OPEN, type FailedOpen } from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import type { Slot } from '../slots.js';
import type { StoreGate } from '../store-gate.js';
import { isStoreThere } from './ask-worker.js';

export const REPORT_RETRY_INTERVAL_MS = 500;
/** Reports of one partition that are sent together. */
const REPORTS_PER_STEP = 256;
/** Who waits for less does not say so. */
const WAITED_MS_MIN = 1000;

export interface ReportOptions {
  readonly redis: Redis;
  readonly gate: StoreGate;
  /** Has room beyond what requests may fill: what was given away is recorded even where nothing more is asked. */
  readonly appender: Appender;
  /** Reports that may wait. */
  readonly reportsMax: number;
  /** How long the workers keep the end of an admission that they do not know yet, ms. */
  readonly keptMs: number;
  readonly log: Logger;
}

export interface Report {
  readonly slot: Slot;
  /** Its id makes a repeat harmless. */
  readonly message: Message<FailedOpen | CancelRequest>;
  /** Sent only once this has settled: the message that it is about may still be on its way. */
  readonly after?: Promise<unknown> | undefined;
}

interface Waiting extends Report {
  /** Lets its caller go on; undefined: it has. */
  tried: (() => void) | undefined;
  /** ms, by a steady clock. */
  readonly since: number;
}

/** Of one partition, in the order in which they were made. */
interface Queue {
  readonly slot: Slot;
  /** At most REPORTS_PER_STEP each. */
  readonly steps: Waiting[][];
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
        queue = { slot: report.slot, steps: [], sending: undefined };
        this.queues.set(report.slot.name, queue);
      }
      const waiting: Waiting = { ...report, tried: resolve, since: performance.now() };
      const last = queue.steps.at(-1);
      if (last === undefined || last.length >= REPORTS_PER_STEP) queue.steps.push([waiting]);
      else last.push(waiting);
      this.waiting++;
      void this.send(queue);
    });
  }

  private async sendAll(): Promise<void> {
    await Promise.all([...this.queues.values()].map((queue) => this.send(queue)));
  }

  private send(queue: Queue): Promise<void> {
    if (queue.sending !== undefined) return queue.sending;
    const step = this.nextStep(queue);
    if (step !== undefined) queue.sending = this.sendWhilePossible(queue, step);
    return queue.sending ?? Promise.resolve();
  }

  private async sendWhilePossible(queue: Queue, first: Waiting[]): Promise<void> {
    let step: Waiting[] | undefined = first;
    while (step !== undefined) step = (await this.sendStep(queue, step)) ? this.nextStep(queue) : undefined;
    releaseUntried(queue);
    // At once with the last look for more: what is added from now on is sent anew.
    queue.sending = undefined;
  }

  /** Takes what is next out of the queue. @returns undefined: there is nothing, or the store is away */
  private nextStep(queue: Queue): Waiting[] | undefined {
    const { redis, gate } = this.options;
    const step = isStoreThere(redis, gate) ? queue.steps.shift() : undefined;
    if (step === undefined) releaseUntried(queue);
    return step;
  }

  /** @returns whether it makes sense to go on: all are appended */
  private async sendStep(queue: Queue, step: readonly Waiting[]): Promise<boolean> {
    await Promise.all(step.map(({ after }) => after));
    const outcomes = await this.options.appender.appendAll(
      queue.slot.keys,
      step.map((report) => this.textOf(report)),
    );
    const left: Waiting[] = [];
    step.forEach((report, i) => {
      if (outcomes[i]!.kind === 'appended') report.tried?.();
      else left.push(report);
    });
    this.waiting -= step.length - left.length;
    if (left.length > 0) queue.steps.unshift(left);
    return left.length === 0;
  }

  private textOf({ message, since }: Waiting): string {
    const waitedMs = Math.floor(performance.now() - since);
    if (waitedMs < WAITED_MS_MIN || message.type !== FAILED_OPEN) return JSON.stringify(message);
    const data = { ...message.data, waitedMs };
    // Its end may be forgotten by now: it is charged as a whole.
    const isLate = waitedMs >= this.options.keptMs;
    return JSON.stringify({ ...message, data: isLate ? { ...data, settled: true } : data });
  }
}

/** They go on waiting, but their callers do not. Those that have tried already are the first ones. */
function releaseUntried({ steps }: Queue): void {
  for (let place = steps.length - 1; place >= 0; place--) {
    const step = steps[place]!;
    for (let i = step.length - 1; i >= 0; i--) {
      const report = step[i]!;
      if (report.tried === undefined) return;
      report.tried();
      report.tried = undefined;
    }
  }
}
