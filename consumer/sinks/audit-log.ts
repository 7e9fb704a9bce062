import type { Logger } from '../../shared/logging.js';
import { isRestrictionChange } from '../../shared/messages/restriction-changes.js';
import type { OutboxEntry, Sink } from '../engine/outbox-drain.js';

/**
 * Writes every change of a restriction as one log line: who, what, which rule, why, by which events. At least
 * once, in commit order per partition; `partition` and `entry` identify a line, so a reader can drop repeats.
 */
export class AuditLogSink implements Sink {
  readonly name = 'audit-log';
  readonly topic = 'events';

  constructor(private readonly log: Logger) {}

  knows({ type }: OutboxEntry): boolean {
    return isRestrictionChange(type);
  }

  write(partition: string, entries: readonly OutboxEntry[]): Promise<void> {
    for (const { id, type, body } of entries) {
      this.log.info({ audit: type, partition, entry: id, change: body }, 'restriction changed');
    }
    return Promise.resolve();
  }
}
