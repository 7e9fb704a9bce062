import { Refusal } from '../../refusal.js';

/** Reads under way at a time. Each has 1 MiB in a reply, and then some 10 ms of this process. */
const READING_MAX = 4;
/** Reads that wait for their turn; what waits holds nothing yet. */
const WAITING_MAX = 1000;

/** Lets a few reads of usage through at a time, in the order in which they came. */
export class ReadingTurns {
  private reading = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly readingMax = READING_MAX,
    private readonly waitingMax = WAITING_MAX,
  ) {}

  /** @throws Refusal overloaded where too many wait already (rejects); what `read` throws */
  async run<T>(read: () => Promise<T>): Promise<T> {
    if (this.reading < this.readingMax) this.reading++;
    else await this.turn();
    try {
      return await read();
    } finally {
      // The turn goes on to the next one: nobody who comes now can take it.
      const next = this.waiting.shift();
      if (next === undefined) this.reading--;
      else next();
    }
  }

  private turn(): Promise<void> {
    if (this.waiting.length >= this.waitingMax) {
      throw new Refusal('overloaded', `${this.waitingMax} reads of usage wait already.`);
    }
    return new Promise((resolve) => {
      this.waiting.push(resolve);
    });
  }
}
