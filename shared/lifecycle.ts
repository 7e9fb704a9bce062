import type { Logger } from './logging.js';
import { SetupError } from './setup-error.js';

type Release = () => Promise<void> | void;

/**
 * Releases what was acquired, last in first out, also after a failed start. Every acquisition registers its
 * release here at once.
 */
export class Lifecycle {
  private readonly releases: { readonly name: string; readonly release: Release }[] = [];
  private closing: Promise<void> | undefined;

  constructor(private readonly log: Logger) {}

  onClose(name: string, release: Release): void {
    this.releases.push({ name, release });
  }

  /** Runs all releases once; a release that throws is logged and the rest still run. */
  close(): Promise<void> {
    this.closing ??= this.runReleases();
    return this.closing;
  }

  private async runReleases(): Promise<void> {
    for (const { name, release } of this.releases.reverse()) {
      try {
        await release();
      } catch (error) {
        this.log.error({ err: error, resource: name }, 'release failed');
      }
    }
  }
}

export interface MainOptions {
  readonly log: Logger;
  readonly shutdownTimeoutMs: number;
  /** What comes before the close of a stop that was asked for, in bounded time of its own. Not after a failure. */
  readonly drain?: () => Promise<void>;
  /** Also shut down when the process that started us is gone (its end of our IPC channel closed). */
  readonly followParent?: boolean;
}

/**
 * The life of a process: start, wait for SIGINT, SIGTERM or the loss of the parent, close, exit.
 * Exit code 0 after a clean stop, 1 after a failed start, an unexpected error or a close that took too long.
 */
export function runUntilStopped(
  lifecycle: Lifecycle,
  start: () => Promise<void>,
  { log, shutdownTimeoutMs, drain, followParent = false }: MainOptions,
): void {
  let stopping = false;
  const stop = (reason: string, exitCode: number): void => {
    if (stopping) return;
    stopping = true;
    if (exitCode === 0) log.info({ reason }, 'stopping');
    const close = async (): Promise<void> => {
      setTimeout(() => {
        log.error({ shutdownTimeoutMs }, 'shutdown took too long');
        process.exit(1);
      }, shutdownTimeoutMs).unref();
      await lifecycle.close();
      process.exit(exitCode);
    };
    if (exitCode === 0 && drain !== undefined) void drain().then(close, close);
    else void close();
  };
  process.on('SIGINT', () => stop('SIGINT', 0));
  process.on('SIGTERM', () => stop('SIGTERM', 0));
  if (followParent && process.send !== undefined) {
    const orphaned = (): void => stop('the launcher is gone', 0);
    // It may have gone while this process was still loading; that event is over.
    if (process.connected) process.on('disconnect', orphaned);
    else orphaned();
  }
  const fail = (what: string, error: unknown): void => {
    if (!(error instanceof SetupError)) log.fatal({ err: error }, what);
    // Several connections find the same.
    else if (!stopping) log.fatal(error.message);
    stop(what, 1);
  };
  process.on('uncaughtException', (error) => fail('unexpected error', error));
  process.on('unhandledRejection', (error) => fail('unexpected error', error));
  start().catch((error: unknown) => {
    // What a stop interrupts fails because of the stop.
    if (!stopping) fail('start failed', error);
  });
}
