import { until } from './redis-server.js';

/**
 * What keeps this process alive when it is made: connections, servers, child processes, timers. What is there more of
 * later has been left behind.
 */
export class LeftBehind {
  private readonly before = countByType();

  /** @throws naming `where`, and what is left there and does not go away by itself. */
  async expectNoMore(where: string): Promise<void> {
    let left: string[] = [];
    await until(3000, 'everything that was opened is closed', () => {
      left = [...countByType()]
        .filter(([type, count]) => count > (this.before.get(type) ?? 0))
        .map(([type, count]) => `${count} ${type}, before ${this.before.get(type) ?? 0}`);
      return left.length === 0;
    }).catch((error: Error) => {
      throw new Error(`${where}: ${error.message}; left: ${left.join('; ')}`);
    });
  }
}

function countByType(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) counts.set(type, (counts.get(type) ?? 0) + 1);
  return counts;
}
