/** What the fold is configured with. Changes with a restart, so no two folds need have had the same. */
export interface WindowSettings {
  /** WINDOW_SECONDS. */
  readonly windowMs: number;
  /** ALLOWED_LATENESS_SECONDS: a window closes this long after its end. */
  readonly latenessMs: number;
  /** REVISION_DELAY_MS: late events are gathered this long into one revision. */
  readonly revisionDelayMs: number;
  /** WINDOW_DIMENSIONS_MAX. */
  readonly dimensionsMax: number;
  /** WINDOW_HOT_HOURS: a window stays in Redis this long after its end. */
  readonly hotMs: number;
}

/** How documents, their timers (which have the same name) and indexes are called: `shared/keys.ts` makes the names. */
export interface MeteringNames {
  windowDocument(tenant: string, startMs: number, customer: string): string;
  countersDocument(tenant: string, customer: string): string;
  hotWindowsIndex(tenant: string, customer: string): string;
}

/** What a fold is told besides the states. */
export interface MeteringContext {
  readonly tenant: string;
  readonly customer: string;
  /** The partition's time, ms since the epoch: never goes back, and alone decides what is late. */
  readonly at: number;
  readonly settings: WindowSettings;
  readonly names: MeteringNames;
  /** The step that is folded: drafts that bear it may be changed, all else is copied first. */
  readonly step: object;
}
