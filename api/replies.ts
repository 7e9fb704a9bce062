import type { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import type { Keys } from '../shared/keys.js';
import { LivedTimeout } from '../shared/lived-time.js';
import { Refusal } from './refusal.js';
import type { Slot } from './slots.js';

export const REPLY_POLL_INTERVAL_MS = 200;
export const REPLY_WAITERS_MAX = 10_000;
/** The reply is looked for once more at this share of the deadline, so that the look is over when the deadline is. */
const LAST_LOOK = 0.9;

export interface ReplyWaiterOptions {
  /** For reading stored replies. */
  readonly redis: Redis;
  /** A connection of its own: one that listens can do nothing else. */
  readonly subscriber: Redis;
  readonly keys: Keys;
  /** Of calls that name none of their own. */
  readonly deadlineMs: number;
  readonly pollIntervalMs?: number;
  readonly waitersMax?: number;
}

interface Waiter {
  readonly id: string;
  readonly slot: Slot;
  readonly resolve: (reply: unknown) => void;
  timer: LivedTimeout | undefined;
  /** Ticks of the poll timer, two in each poll interval. */
  ticks: number;
  reading: boolean;
}

/** A reply that is waited for. */
export interface PendingReply {
  /** Goes into the message's `reply` field. */
  readonly address: string;
  /** The reply; undefined when no worker answered in time. Never rejects. */
  readonly reply: Promise<unknown>;
  /** Stop waiting: the message was not appended. */
  cancel(): void;
}

/**
 * Waits for workers' replies to messages of ours.
 *
 *   expect ──> waiting ──(publication: the reply)──────────────────> settled
 *                 │  └──(every 200 ms, and at the end: the stored reply)──┘
 *                 └──(deadline)──> settled with undefined
 *
 * The deadline does not run while this process is stalled: a reply that lies in the socket is read before.
 * The reply is stored and published in the worker's commit: who hears it knows that it was committed. A publication
 * that is lost (the connection broke, the process subscribed too late) costs one poll interval and nothing else.
 */
export class ReplyWaiter {
  /** Names this process in reply addresses. */
  readonly apiProcess = nanoid(12);
  private readonly waiters = new Map<string, Waiter>();
  private timer: NodeJS.Timeout | undefined;
  private readonly onReady = (): void => void this.subscribe();

  constructor(private readonly options: ReplyWaiterOptions) {}

  start(): void {
    const { subscriber } = this.options;
    subscriber.on('message', (_channel: string, payload: string) => this.heard(payload));
    subscriber.on('ready', this.onReady);
    if (subscriber.status === 'ready') void this.subscribe();
  }

  /** Ends all waiting, with no reply. */
  stop(): void {
    clearInterval(this.timer);
    this.options.subscriber.off('ready', this.onReady);
    for (const waiter of [...this.waiters.values()]) this.settle(waiter, undefined);
  }

  /** @throws Refusal overloaded when too many wait already */
  expect(slot: Slot, deadlineMs = this.options.deadlineMs): PendingReply {
    const { waitersMax = REPLY_WAITERS_MAX } = this.options;
    if (this.waiters.size >= waitersMax) {
      throw new Refusal('overloaded', 'Too many calls wait for the workers already.');
    }
    const id = nanoid();
    let waiter!: Waiter;
    const reply = new Promise<unknown>((resolve) => {
      waiter = { id, slot, resolve, timer: undefined, ticks: 0, reading: false };
    });
    waiter.timer = new LivedTimeout(() => void this.lookLast(waiter, deadlineMs), deadlineMs * LAST_LOOK);
    this.waiters.set(id, waiter);
    this.startPolling();
    const cancel = (): void => this.settle(waiter, undefined);
    return { address: `${this.apiProcess}/${id}`, reply, cancel };
  }

  private settle(waiter: Waiter, reply: unknown): void {
    waiter.timer?.clear();
    this.waiters.delete(waiter.id);
    waiter.resolve(reply);
  }

  private async subscribe(): Promise<void> {
    const { subscriber, keys } = this.options;
    // A failure is mended by the next connection; polling bridges the time until then.
    await subscriber.subscribe(keys.replyChannel(this.apiProcess)).catch(() => undefined);
  }

  private startPolling(): void {
    if (this.timer !== undefined) return;
    const intervalMs = this.options.pollIntervalMs ?? REPLY_POLL_INTERVAL_MS;
    this.timer = setInterval(() => this.poll(), intervalMs / 2);
    this.timer.unref();
  }

  /** Nearly all replies come at once: nobody is looked after who waits for less than half an interval. */
  private poll(): void {
    if (this.waiters.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    for (const waiter of this.waiters.values()) {
      waiter.ticks++;
      // One read at a time: the next poll comes anyway.
      if (waiter.ticks % 2 === 0 && !waiter.reading) void this.read(waiter);
    }
  }

  /** Also while a read is under way: one connection answers in order, so that one is over before this. */
  private async lookLast(waiter: Waiter, deadlineMs: number): Promise<void> {
    waiter.timer = new LivedTimeout(() => this.settle(waiter, undefined), deadlineMs * (1 - LAST_LOOK));
    await this.read(waiter);
    this.settle(waiter, undefined);
  }

  /** `<reply id> <JSON>` */
  private heard(payload: string): void {
    const end = payload.indexOf(' ');
    const waiter = this.waiters.get(payload.slice(0, end));
    if (waiter === undefined) return;
    try {
      this.settle(waiter, JSON.parse(payload.slice(end + 1)));
    } catch {
      // No reply of a worker: polling finds the stored one.
    }
  }

  private async read(waiter: Waiter): Promise<void> {
    waiter.reading = true;
    try {
      const stored = await this.options.redis.get(waiter.slot.keys.reply(waiter.id));
      if (stored !== null) this.settle(waiter, JSON.parse(stored));
    } catch {
      // Redis is away, or the reply is not JSON: the deadline decides.
    } finally {
      waiter.reading = false;
    }
  }
}
