import type { Redis } from 'ioredis';
import type { Message } from '../../shared/messages/message.js';
import { appendRefusal } from '../append-refusal.js';
import type { Refusal } from '../refusal.js';
import type { CommandDependencies } from '../send-command.js';
import type { Slot } from '../slots.js';
import type { StoreGate } from '../store-gate.js';

export interface AskDependencies extends CommandDependencies {
  readonly redis: Redis;
  readonly gate: StoreGate;
  /** For append and reply together, ms. */
  readonly deadlineMs: number;
}

export const UNDECIDED_REASONS = ['no_worker', 'store_unavailable', 'backlog_full'] as const;
export type UndecidedReason = (typeof UNDECIDED_REASONS)[number];

export type Asked = { readonly kind: 'decided'; readonly reply: unknown } | Undecided;

export interface Undecided {
  readonly kind: 'undecided';
  readonly reason: UndecidedReason;
  /** Settles when it is known as well as it ever will be whether the message is in the stream; absent: it is not. */
  readonly appending?: Promise<unknown>;
  /** What a caller hears who is refused like any other. */
  readonly refusal?: Refusal;
}

/**
 * Appends a request and waits for the worker's decision, both within one deadline. A store that is known to be away is
 * not asked.
 * @throws Refusal overloaded when this process holds too much already
 */
export async function askWorker(dependencies: AskDependencies, slot: Slot, message: Message): Promise<Asked> {
  const { redis, gate, appender, replies, sampler, deadlineMs } = dependencies;
  if (!isStoreThere(redis, gate)) return { kind: 'undecided', reason: 'store_unavailable' };
  const pending = replies.expect(slot, deadlineMs);
  const appending = appender.append(slot.keys, JSON.stringify({ ...message, reply: pending.address }));
  return new Promise((resolve, reject) => {
    let appended = false;
    void pending.reply.then((reply) => {
      if (reply !== undefined) resolve({ kind: 'decided', reply });
      else resolve({ kind: 'undecided', reason: appended ? 'no_worker' : 'store_unavailable', appending });
    });
    void appending.then((outcome) => {
      if (outcome.kind === 'appended') {
        appended = true;
        return;
      }
      const refusal = appendRefusal(outcome, slot, sampler);
      if (outcome.kind === 'unavailable') {
        resolve({ kind: 'undecided', reason: 'store_unavailable', appending });
      } else if (outcome.kind === 'full') {
        resolve({ kind: 'undecided', reason: 'backlog_full', refusal });
      } else reject(refusal);
      pending.cancel();
    });
  });
}

export function isStoreThere(redis: Redis, gate: StoreGate): boolean {
  return gate.isOpen && redis.status === 'ready';
}
