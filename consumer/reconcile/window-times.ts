import type { Config } from '../../shared/config.js';
import type { WindowTimes } from './compare-windows.js';

export function windowTimes(config: Config): WindowTimes {
  return {
    windowMs: config.WINDOW_SECONDS * 1000,
    latenessMs: config.ALLOWED_LATENESS_SECONDS * 1000,
    revisionDelayMs: config.REVISION_DELAY_MS,
  };
}
