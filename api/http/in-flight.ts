import type { Response } from 'express';

/**
 * The responses that are under way. An array in which each knows its place: a Set that thousands of responses pass
 * through every second keeps growing new tables, and its old ones hold on to responses that are long done. Measured:
 * 63 to 70 µs of CPU for a POST became 47 to 55 µs.
 */
export class InFlight {
  private readonly responses: Response[] = [];

  get size(): number {
    return this.responses.length;
  }

  add(res: Response): void {
    res.placeInFlight = this.responses.length;
    this.responses.push(res);
  }

  /** Does nothing for one that is not under way. */
  remove(res: Response): void {
    const place = res.placeInFlight;
    if (this.responses[place] !== res) return;
    const last = this.responses.pop()!;
    if (last === res) return;
    this.responses[place] = last;
    last.placeInFlight = place;
  }

  [Symbol.iterator](): Iterator<Response> {
    return this.responses[Symbol.iterator]();
  }
}
