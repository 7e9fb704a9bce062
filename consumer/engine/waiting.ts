import type { Logger } from '../../shared/logging.js';
import { WAITS_FOR, type WaitsFor } from '../../shared/waits-for.js';
import type { Engine } from './engine.js';
import type { PartitionSight } from './housekeep.js';

/** Whether a full outbox or dead letter stream stops a partition. Says when that changes. */
export class Waiting {
  private now: WaitsFor | undefined;

  constructor(
    private readonly engine: Engine,
    private readonly name: string,
    private readonly log: Logger,
  ) {}

  get waitsFor(): WaitsFor | undefined {
    return this.now;
  }

  /** @param deadLetters as they were when the lease was taken: until the first sight */
  look(sight: PartitionSight | undefined, deadLetters: number): WaitsFor | undefined {
    const waitsFor = this.reason(sight, deadLetters);
    if (waitsFor !== this.now) {
      if (waitsFor !== undefined) this.log.error({ reason: WAITS_FOR[waitsFor] }, 'partition waits');
      else this.log.info('partition goes on');
      this.now = waitsFor;
      this.engine.metrics.stopped(this.name, waitsFor !== undefined);
    }
    return waitsFor;
  }

  private reason(sight: PartitionSight | undefined, deadLetters: number): WaitsFor | undefined {
    const { deadLettersMax, outboxMax, outboxBytesMax } = this.engine.settings;
    if ((sight?.deadLetters ?? deadLetters) >= deadLettersMax) return 'dead_letters_full';
    if (sight === undefined) return undefined;
    return sight.outboxEntries >= outboxMax || sight.outboxBytes >= outboxBytesMax
      ? 'outbox_full'
      : undefined;
  }
}
