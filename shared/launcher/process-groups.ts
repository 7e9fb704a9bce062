/**
 * The process groups that this launcher runs. Every child leads a group of its own, so that a terminal's Ctrl-C
 * reaches the launcher alone, and so that a child's own children can be ended with it.
 */
export class ProcessGroups {
  private readonly leaders = new Set<number>();

  add(leader: number): void {
    this.leaders.add(leader);
  }

  /** Forgets a group whose leader has ended, and ends what the leader left behind in it. */
  remove(leader: number): void {
    this.kill(leader);
    this.leaders.delete(leader);
  }

  kill(leader: number): void {
    try {
      process.kill(-leader, 'SIGKILL');
    } catch {
      // ESRCH: nobody is left in it.
    }
  }

  killAll(): void {
    for (const leader of this.leaders) this.kill(leader);
  }
}
