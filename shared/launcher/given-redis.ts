import { setTimeout as delay } from 'node:timers/promises';
import { withoutPassword } from '../logging.js';
import { askRedis } from './ask-redis.js';
import { LauncherError } from './launcher-error.js';
import { assertVersion } from './redis-version.js';
import type { Say } from './say.js';
import type { Store } from './store.js';

const answerMsMax = 60_000;
const reportMs = 5000;
const pollMs = 250;

/** A Redis that somebody else runs: REDIS_URL, or REDIS_HOST and REDIS_PORT. */
export class GivenRedis implements Store {
  readonly name = 'redis';
  readonly urlVariable = 'REDIS_URL';

  constructor(
    private readonly url: string,
    private readonly say: Say,
  ) {}

  async start(signal: AbortSignal): Promise<{ url: string; description: string }> {
    const shown = withoutPassword(this.url);
    const startedAt = performance.now();
    let reportAt = startedAt + reportMs;
    for (;;) {
      const answer = await askRedis(this.url);
      if (answer.kind === 'ready') {
        assertVersion(answer.version, shown);
        return { url: this.url, description: `${shown}  (given by REDIS_URL or REDIS_HOST)` };
      }
      const why = answer.kind === 'loading' ? 'it is still loading its data' : answer.error;
      if (answer.kind === 'refused') throw new LauncherError(`${shown} refuses us: ${why}`);
      const now = performance.now();
      if (now - startedAt > answerMsMax) {
        throw new LauncherError(`${shown} did not answer PING within ${answerMsMax / 1000} s: ${why}`);
      }
      if (now > reportAt) {
        this.say('redis', `waiting for ${shown}: ${why}`);
        reportAt = now + reportMs;
      }
      await delay(pollMs, undefined, { signal });
    }
  }

  async stop(): Promise<void> {
    // Not ours to stop.
  }
}
