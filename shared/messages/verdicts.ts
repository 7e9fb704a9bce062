/** How far a fold has come: the last entry folded completely, and of the next one how many messages. */
export type CursorText = readonly [position: string, insideEntry: string, insideMessages: number];

/**
 * What became of the messages of one step, for the archive: the outbox entry of type `verdicts`. It covers every
 * message between the cursors; those that are not listed were accepted and counted on time.
 */
export interface Verdicts {
  /** From. */
  readonly f: CursorText;
  /** To. */
  readonly t: CursorText;
  /** How many messages lie between: a stream that has fewer has lost some. */
  readonly n: number;
  /**
   * Entry id → exceptions, each the index of a message in its entry and what became of it, separated by spaces:
   * `d` duplicate, `x` dead, `l<revision>` late (counted in that revision of its window), `c` cold (the window has
   * left Redis: the archive counts it).
   */
  readonly x?: Readonly<Record<string, string>>;
}

export const VERDICTS = 'verdicts';

export type Judgement = 'accepted' | 'late' | 'cold' | 'duplicate' | 'dead';

export interface Verdict {
  readonly judgement: Judgement;
  /** The revision of its window in which it counted; 0: in none (yet). */
  readonly revision: number;
}

const ACCEPTED: Verdict = { judgement: 'accepted', revision: 1 };
const DUPLICATE: Verdict = { judgement: 'duplicate', revision: 0 };
const DEAD: Verdict = { judgement: 'dead', revision: 0 };
const COLD: Verdict = { judgement: 'cold', revision: 0 };

/** The verdicts on one entry: `of(index)`. */
export class EntryVerdicts {
  private readonly exceptions = new Map<number, Verdict>();

  /** @throws when the text is none of ours */
  constructor(text: string | undefined) {
    if (text === undefined) return;
    for (const word of text.split(' ')) {
      const index = Number.parseInt(word, 10);
      this.exceptions.set(index, verdictOf(word.slice(String(index).length)));
    }
  }

  of(index: number): Verdict {
    return this.exceptions.get(index) ?? ACCEPTED;
  }
}

function verdictOf(code: string): Verdict {
  switch (code[0]) {
    case 'd':
      return DUPLICATE;
    case 'x':
      return DEAD;
    case 'c':
      return COLD;
    case 'l':
      return { judgement: 'late', revision: Number(code.slice(1)) };
    default:
      throw new Error(`unknown verdict ${code}`);
  }
}
