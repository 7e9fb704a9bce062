import { SetupError } from '../setup-error.js';
import { processCommand } from './process-command.js';
import type { Say } from './say.js';

interface Stop {
  readonly reason: string;
  readonly exitCode: number;
}

/**
 * Under `npm start` a Ctrl-C arrives twice, from the terminal and from npm, which passes signals on. A second one
 * counts as such only after this many ms.
 */
const sameCtrlCMs = 500;
const parentCheckMs = 500;

/** Why and when everything has to stop. The first reason wins. */
export class StopRequest {
  private readonly controller = new AbortController();
  private resolve: (stop: Stop) => void = () => undefined;
  private requestedAt = 0;
  readonly requested = new Promise<Stop>((resolve) => {
    this.resolve = resolve;
  });

  constructor(private readonly say: Say) {}

  /** Aborts when a stop is requested: whatever waits during the start gives up. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  request(reason: string, exitCode = 0): void {
    if (this.signal.aborted) return;
    this.requestedAt = performance.now();
    this.resolve({ reason, exitCode });
    this.controller.abort();
  }

  /** A stop because of an error, with exit code 1. */
  fail(error: unknown): void {
    const reason = error instanceof SetupError ? error.message : describe(error);
    this.request(reason, 1);
  }

  /** Stops on signals, on unexpected errors and when npm is gone. `killNow` is for whoever cannot wait. */
  listen(killNow: () => void): void {
    process.on('SIGTERM', () => this.request('SIGTERM'));
    process.on('SIGINT', () => {
      if (this.signal.aborted && performance.now() - this.requestedAt > sameCtrlCMs) {
        this.say('stopped', 'at once, by a second Ctrl-C');
        killNow();
        process.exit(130);
      }
      this.request('Ctrl-C (again: at once)');
    });
    // Node undoes the SIG_IGN that nohup set, so SIGHUP means "the terminal is gone" only where there was one.
    const hadTerminal = process.stdin.isTTY === true;
    process.on('SIGHUP', () => {
      if (hadTerminal) this.request('the terminal is gone');
    });
    process.on('uncaughtException', (error) => this.fail(error));
    process.on('unhandledRejection', (error) => this.fail(error));
    if (process.env['npm_lifecycle_event'] === 'start') this.followNpm();
  }

  /** A launcher that outlives its npm could not be stopped where it was started. Without npm it has no such tie. */
  private followNpm(): void {
    const npm = process.ppid;
    // It may be gone by now: `npm start | head` ends it before we run. In a container it may be process 1 itself.
    if (npm === 1 && !/npm|node|yarn|\bbun\b/.test(processCommand(npm) ?? '')) this.request('npm is gone');
    setInterval(() => {
      if (process.ppid !== npm) this.request('npm is gone');
    }, parentCheckMs).unref();
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
