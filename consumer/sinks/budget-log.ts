import type { Logger } from '../../shared/logging.js';
import { BUDGETS_APPLIED, isBudgetEmission } from '../../shared/messages/budget-emissions.js';
import type { OutboxEntry, Sink } from '../engine/outbox-drain.js';

/**
 * Stands in where there is no Postgres: every change of budgets is one log line, at least once. The ledger and ended
 * windows are kept nowhere; thousands of lines a second would make a log useless.
 */
export class BudgetLogSink implements Sink {
  readonly name = 'budget-log';
  readonly topic = 'admissions';
  /** It has little to say: not after every commit. */
  readonly delayed = true;

  constructor(private readonly log: Logger) {}

  knows({ type, body }: OutboxEntry): boolean {
    return isBudgetEmission(type, body);
  }

  write(partition: string, entries: readonly OutboxEntry[]): Promise<void> {
    for (const { id, type, body } of entries) {
      if (type === BUDGETS_APPLIED)
        this.log.info({ audit: type, partition, entry: id, change: body }, 'budgets changed');
    }
    return Promise.resolve();
  }
}
