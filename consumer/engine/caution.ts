import type { Logger } from '../../shared/logging.js';
import type { EntryBuffer } from './entry-buffer.js';
import { compareEntryIds, type Head } from './head.js';
import type { Prepared } from './partition-fold.js';
import type { Probe } from './probe.js';
import type { Input, Processor } from './processor.js';

/** After this many owners died without a commit, nothing is folded that was not tried in another process first. */
const TAKEOVERS_MAX = 3;

export interface CautionOptions {
  readonly head: Head;
  readonly probe: Probe;
  readonly processor: Processor;
  readonly log: Logger;
}

/**
 * What an owner does when its predecessors died: perhaps they were killed, perhaps a message kills whoever folds
 * it. Steps are tried in a probe process first.
 *
 *   none ──more than 3 takeovers without a commit──▶ together: a whole step is tried at once
 *     ▲                                                  │ the probe died or hung
 *     │                                                  ▼
 *     └──────the head has passed what was suspected── alone: one input is tried and folded at a time;
 *                                                        one that fails alone becomes a dead letter
 *
 * What is suspected is everything that was read when caution began; the head remembers how far that goes, so that
 * an owner killed meanwhile is followed by one as careful.
 */
export class Caution {
  private mode: 'none' | 'together' | 'alone';
  private until: string;
  private told = false;

  constructor(private readonly options: CautionOptions) {
    const { head } = options;
    this.until = head.cautiousUntil;
    this.mode = head.cautiousUntil !== '' || head.takeovers > TAKEOVERS_MAX ? 'together' : 'none';
  }

  get isCareful(): boolean {
    return this.mode !== 'none';
  }

  /** Inputs of the next step. */
  inputsMax(usual: number): number {
    return this.mode === 'alone' ? 1 : usual;
  }

  /** The suspects are known as soon as something was read. */
  look(buffer: EntryBuffer): void {
    if (this.mode !== 'none' && this.until === '' && !buffer.isEmpty) this.until = buffer.lastId;
  }

  /**
   * Tries a step. True: fold it (a single input that fails is marked as refused). False: plan it again, smaller.
   * @throws when no probe can be started
   */
  async mayFold({ planned, documents: loaded, members, refused }: Prepared): Promise<boolean> {
    if (this.mode === 'none') return true;
    const { head, probe, processor, log } = this.options;
    const inputs = planned.flatMap((item): Input[] => {
      if (item.kind === 'message') {
        const { message, at, index } = item;
        // Not the place itself: it holds every message of the entry.
        return [{ kind: 'message', message, at, place: { entry: { id: item.place.entry.id } }, index }];
      }
      return item.kind === 'timer' ? [{ kind: 'timer', timer: item.timer, at: item.at }] : [];
    });
    if (inputs.length === 0) return true;
    // Not before: owners that were killed while there was nothing to fold are no news.
    if (!this.told) log.warn({ takeovers: head.takeovers }, 'owners died here: steps are tried first');
    this.told = true;
    const documents = [...loaded].map(
      ([name, document]) => [name, document === null ? null : processor.encode(name, document)] as const,
    );
    const verdict = await probe.tryFold({ topic: processor.topic, inputs, documents, members });
    if (verdict.survived) return true;
    if (planned.length > 1) {
      log.error(
        { inputs: inputs.length, reason: verdict.reason },
        'a step fails in the probe: inputs are tried alone',
      );
      this.mode = 'alone';
      return false;
    }
    log.error({ reason: verdict.reason }, 'an input fails alone: it becomes a dead letter');
    refused.set(0, verdict.reason);
    return true;
  }

  /** What the head remembers once it has come to `position`. */
  headValue(position: string): string {
    return this.isOver(position) ? '' : this.until;
  }

  committed(position: string): void {
    if (this.mode === 'none' || !this.isOver(position)) return;
    this.mode = 'none';
    this.until = '';
    this.options.log.info('steps are folded at once again');
  }

  private isOver(position: string): boolean {
    if (this.mode === 'none') return true;
    return this.until !== '' && compareEntryIds(position, this.until) >= 0;
  }
}
