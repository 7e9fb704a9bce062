import type { Logger } from '../../shared/logging.js';
import type { Message } from '../../shared/messages/message.js';
import type { StepOutcome } from './fold-step.js';

/** Lines about one partition, or one rule, in WINDOW_MS. */
const LINES_MAX = 5;
const WINDOW_MS = 10_000;
/** Of ids and types, which may come past the API. */
const NAME_CHARACTERS_MAX = 128;

/** What the log says of a dead letter: never its data. */
export interface DeadLetterNews {
  readonly kind: 'message' | 'entry' | 'timer' | 'row';
  readonly error: string;
  readonly attempts: number;
  readonly message?: Pick<Message, 'id' | 'type' | 'request'>;
}

/** The lines of one partition or rule in the present window. */
interface Said {
  lines: number;
  unsaid: number;
}

/**
 * Tells the log of what went wrong in a fold: each dead letter with its reason, each error of a rule. A fault may hit
 * every message of a flood, so only the first lines are written, and then how many were left out. One for all
 * partitions of a worker, so that a rule is not complained about once for each.
 */
export class Complaints {
  private readonly said = new Map<string, Said>();

  constructor(
    private readonly log: Logger,
    private readonly windowMs = WINDOW_MS,
  ) {}

  /** To be called when a step is committed: before, nothing of it has happened. */
  committed(partition: string, { deadLetters, effects }: StepOutcome): void {
    this.deadLetters(partition, deadLetters);
    for (const effect of effects) {
      if (effect.kind !== 'count' || effect.metric !== 'rule_errors') continue;
      const { rule, error } = effect;
      if (this.maySay('rule', rule))
        this.log.error({ rule, error, partition }, 'a rule failed; the others went on');
    }
  }

  deadLetters(partition: string, letters: readonly DeadLetterNews[]): void {
    for (const { kind, error, attempts, message } of letters) {
      if (!this.maySay('partition', partition)) continue;
      const id = message?.id.slice(0, NAME_CHARACTERS_MAX);
      const type = message?.type.slice(0, NAME_CHARACTERS_MAX);
      this.log.error(
        { partition, kind, error, attempts, id, type, request: message?.request },
        'dead letter',
      );
    }
  }

  private maySay(what: 'partition' | 'rule', name: string): boolean {
    const key = `${what} ${name}`;
    const said = this.said.get(key);
    if (said === undefined) {
      this.said.set(key, { lines: 1, unsaid: 0 });
      setTimeout(() => this.sumUp(key, what, name), this.windowMs).unref();
      return true;
    }
    if (said.lines < LINES_MAX) said.lines += 1;
    else said.unsaid += 1;
    return said.unsaid === 0;
  }

  /** The end of a window: the next complaint begins another. */
  private sumUp(key: string, what: 'partition' | 'rule', name: string): void {
    const unsaid = this.said.get(key)?.unsaid ?? 0;
    this.said.delete(key);
    if (unsaid === 0) return;
    const text = what === 'rule' ? 'more errors of a rule, not logged' : 'more dead letters, not logged';
    this.log.error({ [what]: name, count: unsaid }, text);
  }
}
