import type { AppendOutcome } from '../shared/append/appender.js';
import type { BacklogSampler } from './backlog-sampler.js';
import { Refusal } from './refusal.js';
import type { Slot } from './slots.js';

/** Why a message was not appended. */
export function appendRefusal(
  outcome: Exclude<AppendOutcome, { kind: 'appended' }>,
  slot: Slot,
  sampler: BacklogSampler,
): Refusal {
  switch (outcome.kind) {
    case 'full':
      return outcome.reason === 'backlog'
        ? new Refusal('backlog_full', `${outcome.backlog} messages wait in partition ${slot.name} already.`, {
            retryAfterSeconds: sampler.retryAfterSeconds(slot.partition, outcome.backlog),
          })
        : new Refusal(
            'backlog_full',
            `${outcome.bytes} bytes of partition ${slot.name} wait for Postgres already.`,
            { retryAfterSeconds: sampler.archiveRetryAfterSeconds(slot.partition, outcome.bytes) },
          );
    case 'unavailable':
      return new Refusal('store_unavailable', outcome.error.detail);
    case 'overloaded':
      return new Refusal('overloaded', 'Too many messages wait for the store in this process.');
  }
}
