/**
 * The process groups that this launcher runs. Every child leads a group of its own, so that a terminal's Ctrl-C
 * reaches the launcher alone, and so that a child's own children can be ended with it.
 */
export class ProcessGroups {
  private readonly leaders = new Map<number, NodeJS.Signals>();

  /** @param abortSignal what `killAll` sends: Postgres has to end its children itself, because they leave its group. */
  add(leader: number, abortSignal: NodeJS.Signals = 'SIGKILL'): void {
    this.leaders.set(leader, abortSignal);
  }

  /** Forgets a group whose leader has ended, and ends what the leader left behind in it. */
  remove(leader: number): void {
    this.kill(leader);
    this.leaders.delete(leader);
  }

  kill(leader: number, signal: NodeJS.Signals = 'SIGKILL'): void {
    try {
      process.kill(-leader, signal);
    } catch {
      // ESRCH: nobody is left in it.
    }
  }

  killAll(): void {
    for (const [leader, signal] of this.leaders) this.kill(leader, signal);
  }
}
