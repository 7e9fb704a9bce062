/** How often it is looked whether this process still turns its event loop, ms. */
const TICK_MS = 10;
/** A turn that takes longer than this is a stall, ms. */
const STALL_MS = 25;
/** A timeout is looked at again at least so often; looking goes on for a little longer than it is needed, ms. */
const PIECE_MS = 1000;
const LINGER_MS = 100;

let stalledMs = 0;
let lookedAt = 0;
let lookUntil = 0;
let looking: NodeJS.Timeout | undefined;

/**
 * Milliseconds, by a clock that stands still while this process is stalled: its event loop blocked, or the process
 * stopped. To be compared with itself, while a LivedTimeout is looked after.
 */
export function livedMs(): number {
  const now = performance.now();
  return now - stalledMs - stallAt(now);
}

/** The stall that nobody has counted yet. */
function stallAt(now: number): number {
  return looking === undefined ? 0 : Math.max(0, now - lookedAt - STALL_MS);
}

function look(): void {
  const now = performance.now();
  stalledMs += stallAt(now);
  lookedAt = now;
  if (now < lookUntil) return;
  clearInterval(looking);
  looking = undefined;
}

function lookFor(ms: number): void {
  const now = performance.now();
  lookUntil = Math.max(lookUntil, now + ms + LINGER_MS);
  if (looking !== undefined) return;
  lookedAt = now;
  looking = setInterval(look, TICK_MS);
  looking.unref();
}

/**
 * A deadline for what comes over the network. A timer that is due fires before what has arrived meanwhile is read: after a
 * stall it would decide without having looked. This one counts only the time in which this process could have read and
 * written, and reads what is there before it fires. A stalled turn counts STALL_MS, so it always comes. Nearly everything is
 * over within a tick: until then nothing is looked at, and an idle process sleeps.
 */
export class LivedTimeout {
  private timer!: NodeJS.Timeout;
  private cleared = false;
  private readonly began = performance.now();
  /** By livedMs. */
  private due = 0;

  /** @param onTimer is told the timer that is set now, to end it where `clear` cannot be called */
  constructor(
    private readonly callback: () => void,
    private readonly ms: number,
    private readonly onTimer?: (timer: NodeJS.Timeout) => void,
  ) {
    this.set(Math.min(ms, TICK_MS), () => this.afterTick());
  }

  clear(): void {
    this.cleared = true;
    clearTimeout(this.timer);
  }

  private set(ms: number, fired: () => void): void {
    this.timer = setTimeout(fired, ms);
    this.onTimer?.(this.timer);
  }

  private afterTick(): void {
    this.due = livedMs() + this.ms - Math.min(performance.now() - this.began, STALL_MS);
    this.fire();
  }

  private fire(): void {
    const left = this.due - livedMs();
    // A timer may be early by a fraction.
    if (left > 1) {
      const piece = Math.min(left, PIECE_MS);
      lookFor(piece);
      this.set(piece, () => this.fire());
      return;
    }
    // After the sockets are read.
    setImmediate(() => {
      if (!this.cleared) this.callback();
    });
  }
}
