/** The lock did not become free within the time the caller wanted to wait, or Redis could not be asked (`cause`). */
export class LockTimeout extends Error {
  constructor(
    readonly lock: string,
    readonly waitedMs: number,
    cause?: unknown,
  ) {
    super(
      `the lock ${lock} was not free within ${Math.round(waitedMs)} ms`,
      cause === undefined ? undefined : { cause },
    );
    this.name = 'LockTimeout';
  }
}

/** The lock is not ours any more, or may not be: what it protects must not be touched. */
export class LockLost extends Error {
  constructor(
    readonly lock: string,
    why: string,
    cause?: unknown,
  ) {
    super(`the lock ${lock} was lost: ${why}`, cause === undefined ? undefined : { cause });
    this.name = 'LockLost';
  }
}
