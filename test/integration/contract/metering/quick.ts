/** Metering in seconds instead of minutes: a window closes 1 s after its end, and is in Postgres a moment later. */
export const QUICK = {
  WINDOW_SECONDS: '1',
  ALLOWED_LATENESS_SECONDS: '1',
  REVISION_DELAY_MS: '300',
  ARCHIVE_DELAY_MS: '50',
} as const;

export const QUICK_WINDOW_MS = 1000;

/** A window leaves Redis 1.8 s after its end, when Postgres has it. */
export const QUICKLY_COLD = { ...QUICK, WINDOW_HOT_HOURS: '0.0005' } as const;

/**
 * Start of a window that is still open when a test on a busy machine has posted to it: the one after the next, in
 * which timestamps may lie long before it begins.
 */
export function windowToCome(windowMs = QUICK_WINDOW_MS): number {
  const now = Date.now();
  return now - (now % windowMs) + 2 * windowMs;
}
