/** What one process may admit undecided. */
export interface AllowanceBounds {
  /** Length of a window, ms; aligned to the epoch. */
  readonly windowMs: number;
  /** Tokens in each window. */
  readonly tokensMax: number;
  /** Requests of the window whose retries are recognised. */
  readonly rememberedMax: number;
  /** How long a retry is recognised, ms; no longer than the window in any case. */
  readonly rememberedMs: number;
}

interface Remembered<Given> {
  readonly given: Given;
  readonly untilMs: number;
}

/**
 * Tokens that this process admits undecided in the present window, and to whom it gave them: an identical retry is
 * recognised, and counted once. Nothing here waits, so no two calls can take the same tokens.
 */
export class FailOpenAllowance<Given> {
  private window = Number.NaN;
  private used = 0;
  /** The oldest first. */
  private readonly given = new Map<string, Remembered<Given>>();

  constructor(private readonly bounds: AllowanceBounds) {}

  /** Nothing is known of anybody. */
  get isEmpty(): boolean {
    return this.given.size === 0;
  }

  /** What was given not long ago, in the present window, to whoever asks under this name. */
  known(nowMs: number, name: string): Given | undefined {
    this.turn(nowMs);
    const remembered = this.given.get(name);
    return remembered === undefined || nowMs >= remembered.untilMs ? undefined : remembered.given;
  }

  /** Takes tokens from the present window. @returns false: there are not so many, or too many are remembered */
  take(nowMs: number, tokens: number): boolean {
    this.turn(nowMs);
    if (this.used + tokens > this.bounds.tokensMax) return false;
    this.forgetOver(nowMs);
    if (this.given.size >= this.bounds.rememberedMax) return false;
    this.used += tokens;
    return true;
  }

  remember(nowMs: number, name: string, given: Given): void {
    // What was under this name goes to the end, too.
    this.given.delete(name);
    this.given.set(name, { given, untilMs: nowMs + this.bounds.rememberedMs });
  }

  /** The tokens stay taken. */
  forget(name: string): void {
    this.given.delete(name);
  }

  private forgetOver(nowMs: number): void {
    for (const [name, { untilMs }] of this.given) {
      if (nowMs < untilMs) return;
      this.given.delete(name);
    }
  }

  /** A clock that is set back a little opens no window again; one that is set back further begins anew. */
  private turn(nowMs: number): void {
    const window = Math.floor(nowMs / this.bounds.windowMs);
    if (window === this.window || window === this.window - 1) return;
    this.window = window;
    this.used = 0;
    this.given.clear();
  }
}
