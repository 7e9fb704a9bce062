import type { Config } from './config.js';
import { ConfigError, loadConfig } from './load-config.js';

/** For the main of a process: a wrong setting ends it with exit code 1, and with no more words than it takes. */
export function readConfig(
  sayError: (text: string) => void = (text) => process.stderr.write(`${text}\n`),
): Config {
  try {
    return loadConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    sayError(error.message);
    process.exit(1);
  }
}
