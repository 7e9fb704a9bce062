import type { StartRange } from '../../../shared/usage/hot-usage.js';
import type { ReadingTurns } from './reading-turns.js';
import type { WindowPage, WindowsReader } from './windows-reader.js';

/** Windows of the first piece: a page of the usual length in one, and nothing is known yet of how long they are. */
const PIECE_MIN = 100;
/**
 * Folded in one turn of the event loop: some 5 ms in which nobody else is served. Short ones may be followed by the
 * longest there are: Postgres measures 4 ms for each, and has 5 s.
 */
const PIECE_MAX = 250;

/** Reads windows piece by piece, so that neither many nor long ones are ever in memory, or on a connection, at once. */
export class WindowPieces {
  constructor(
    private readonly windows: Pick<WindowsReader, 'page'>,
    private readonly turns: ReadingTurns,
  ) {}

  /**
   * The first `limit` windows of the range. A piece that was cut was looked up, and in Postgres measured, in vain beyond
   * its end: so the next one asks for little more than it had.
   */
  async *of(customer: string, range: StartRange, limit: number): AsyncGenerator<WindowPage> {
    let asked = PIECE_MIN;
    let left = limit;
    let from: number | undefined = range.from;
    while (from !== undefined && left > 0) {
      const rest: StartRange = { from, to: range.to };
      const size = Math.min(asked, left);
      const page = await this.turns.run(() => this.windows.page(customer, rest, size));
      yield page;
      left -= page.windows.length;
      asked = Math.min(page.cut ? 2 * page.windows.length + 1 : 4 * asked, PIECE_MAX);
      from = page.after === undefined ? undefined : page.after + 1;
    }
  }
}
