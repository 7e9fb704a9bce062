/** What one process may admit undecided. */
export interface AllowanceBounds {
  /** Length of a window, ms; aligned to the epoch. */
  readonly windowMs: number;
  /** Tokens in each window. */
  readonly tokensMax: number;
  /** Requests of the window whose retries are recognised. */
  readonly rememberedMax: number;
}

/**
 * Tokens that this process admits undecided in the present window, and to whom it gave them: an identical retry is
 * recognised, and counted once. Nothing here waits, so no two calls can take the same tokens.
 */
export class FailOpenAllowance<Given> {
  private window = Number.NaN;
  private used = 0;
  private readonly given = new Map<string, Given>();

  constructor(private readonly bounds: AllowanceBounds) {}

  /** What was given in the present window to whoever asks under this name. */
  known(nowMs: number, name: string): Given | undefined {
    this.turn(nowMs);
    return this.given.get(name);
  }

  /** Takes tokens from the present window. @returns false: there are not so many, or too many are remembered */
  take(nowMs: number, tokens: number): boolean {
    this.turn(nowMs);
    if (this.used + tokens > this.bounds.tokensMax) return false;
    if (this.given.size >= this.bounds.rememberedMax) return false;
    this.used += tokens;
    return true;
  }

  /** For the rest of the window. */
  remember(name: string, given: Given): void {
    this.given.set(name, given);
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
