/** Something that keeps data and has to answer before the API and the workers start. */
export interface Store {
  /** Shown in front of its lines. */
  readonly name: string;
  /** The environment variable by which the API and the workers learn its address. */
  readonly urlVariable: string;
  /**
   * Brings it up and resolves once it answers. `url` may hold a password, `description` must not.
   * @throws LauncherError when it cannot be brought up; whatever was started is then ended by `stop`.
   */
  start(signal: AbortSignal): Promise<{ readonly url: string; readonly description: string }>;
  /** Ends what `start` began; takes a bounded time, and may be called after a failed start. */
  stop(): Promise<void>;
}

/** How a store that somebody else runs answers; `why` is for people and holds no password. */
export type StoreAnswer =
  | { readonly kind: 'ready' }
  /** Waiting may help. */
  | { readonly kind: 'away'; readonly why: string }
  /** Waiting does not help. */
  | { readonly kind: 'refused'; readonly why: string };
