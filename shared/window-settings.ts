import type { Config } from './config.js';

/** The settings of metering in the units that folds and queries use. */
export function windowSettings(config: Config) {
  return {
    windowMs: config.WINDOW_SECONDS * 1000,
    latenessMs: config.ALLOWED_LATENESS_SECONDS * 1000,
    revisionDelayMs: config.REVISION_DELAY_MS,
    dimensionsMax: config.WINDOW_DIMENSIONS_MAX,
    hotMs: Math.round(config.WINDOW_HOT_HOURS * 3_600_000),
  };
}
