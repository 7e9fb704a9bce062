import { setTimeout as delay } from 'node:timers/promises';
import { LauncherError } from './launcher-error.js';
import type { Say } from './say.js';
import type { Store, StoreAnswer } from './store.js';

const reportMs = 5000;
const pollMs = 250;

export interface GivenStoreOptions {
  readonly name: string;
  readonly urlVariable: string;
  readonly url: string;
  /** The URL without its password. */
  readonly shown: string;
  /** Who gave it, for people. */
  readonly givenBy: string;
  /** How long to wait for its first answer, in seconds. */
  readonly waitSeconds: number;
  readonly ask: (url: string) => Promise<StoreAnswer>;
  readonly say: Say;
}

/** A store that somebody else runs. */
export class GivenStore implements Store {
  readonly name: string;
  readonly urlVariable: string;

  constructor(private readonly options: GivenStoreOptions) {
    this.name = options.name;
    this.urlVariable = options.urlVariable;
  }

  async start(signal: AbortSignal): Promise<{ url: string; description: string }> {
    const { name, url, shown, givenBy, waitSeconds, ask, say } = this.options;
    const startedAt = performance.now();
    let reportAt = startedAt + reportMs;
    for (;;) {
      const answer = await ask(url);
      if (answer.kind === 'ready') return { url, description: `${shown}  (given by ${givenBy})` };
      if (answer.kind === 'refused') throw new LauncherError(`${shown} refuses us: ${answer.why}`);
      const now = performance.now();
      if (now - startedAt > waitSeconds * 1000) {
        throw new LauncherError(
          `${shown} did not answer within ${waitSeconds} s (STORE_WAIT_SECONDS): ${answer.why}`,
        );
      }
      if (now > reportAt) {
        say(name, `waiting for ${shown}: ${answer.why}`);
        reportAt = now + reportMs;
      }
      await delay(pollMs, undefined, { signal });
    }
  }

  async stop(): Promise<void> {
    // Not ours to stop.
  }
}
