import type { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import type { Keys } from '../shared/keys.js';
import { Refusal } from './refusal.js';
import type { Slot } from './slots.js';

export const REPLY_POLL_INTERVAL_MS = 200;
export const REPLY_WAITERS_MAX = 10_000;

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
  readonly slot: Slot;
  readonly settle: (reply: unknown) => void;
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
    for (const waiter of [...this.waiters.values()]) waiter.settle(undefined);
  }

  /** @throws Refusal overloaded when too many wait already */
  expect(slot: Slot, deadlineMs = this.options.deadlineMs): PendingReply {
    const { waitersMax = REPLY_WAITERS_MAX } = this.options;
    if (this.waiters.size >= waitersMax) {
      throw new Refusal('overloaded', 'Too many calls wait for the workers already.');
    }
    const id = nanoid();
    let cancel = (): void => undefined;
    const reply = new Promise<unknown>((resolve) => {
      const settle = (value: unknown): void => {
        clearTimeout(deadline);
        this.waiters.delete(id);
        this.pollWhileNeeded();
        resolve(value);
      };
      const deadline = setTimeout(() => void this.read(id).then(() => settle(undefined)), deadlineMs);
      this.waiters.set(id, { slot, settle, reading: false });
      cancel = () => settle(undefined);
    });
    this.pollWhileNeeded();
    return { address: `${this.apiProcess}/${id}`, reply, cancel };
  }

  private async subscribe(): Promise<void> {
    const { subscriber, keys } = this.options;
    // A failure is mended by the next connection; polling bridges the time until then.
    await subscriber.subscribe(keys.replyChannel(this.apiProcess)).catch(() => undefined);
  }

  private pollWhileNeeded(): void {
    if (this.waiters.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    } else if (this.timer === undefined) {
      this.timer = setInterval(() => {
        for (const id of this.waiters.keys()) void this.read(id);
      }, this.options.pollIntervalMs ?? REPLY_POLL_INTERVAL_MS);
      this.timer.unref();
    }
  }

  /** `<reply id> <JSON>` */
  private heard(payload: string): void {
    const end = payload.indexOf(' ');
    const waiter = this.waiters.get(payload.slice(0, end));
    if (waiter === undefined) return;
    try {
      waiter.settle(JSON.parse(payload.slice(end + 1)));
    } catch {
      // No reply of a worker: polling finds the stored one.
    }
  }

  private async read(id: string): Promise<void> {
    const waiter = this.waiters.get(id);
    // One read at a time: the next poll comes anyway.
    if (waiter === undefined || waiter.reading) return;
    waiter.reading = true;
    try {
      const stored = await this.options.redis.get(waiter.slot.keys.reply(id));
      if (stored !== null) waiter.settle(JSON.parse(stored));
    } catch {
      // Redis is away, or the reply is not JSON: the deadline decides.
    } finally {
      waiter.reading = false;
    }
  }
}
