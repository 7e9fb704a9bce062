import type { Config } from './config.js';
import { ConfigError, loadConfig } from './load-config.js';
import type { Logger } from './logging.js';
import { misspeltSettings } from './setting-names.js';

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

/** Under a launcher, which has said it already, nothing. */
export function warnOfMisspeltSettings(log: Logger): void {
  if (process.send !== undefined) return;
  for (const line of misspeltSettings()) log.warn(line);
}
