import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { ProcessGroups } from './process-groups.js';
import type { Say } from './say.js';

const backoffMsMin = 100;
const backoffMsMax = 2000;
/** A process that lived this long has recovered: its next end is answered after the shortest delay again. */
const livedMsMin = 10_000;
/** The kernel ends a process at once after SIGKILL, unless it hangs in a device; nothing waits for that. */
const killMsMax = 2000;

export interface ProcessEnd {
  /** For people: `exit code 1` or `killed by SIGKILL`. */
  readonly how: string;
  /** undefined when a signal ended it or it could not be started. */
  readonly exitCode: number | undefined;
}

export interface ProcessSpec {
  readonly name: string;
  readonly groups: ProcessGroups;
  readonly say: Say;
  /** Starts one incarnation, detached: as the leader of a process group of its own. */
  readonly spawn: () => ChildProcess;
  /** Called after each start; `previousEnd` is how the incarnation before ended. */
  readonly onStart?: (child: ChildProcess, previousEnd: ProcessEnd | undefined) => void;
  /** Asks it to end in order. Default: SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** Ends it at once, with children that are not in its group. It comes before SIGKILL. Default: none. */
  readonly abortSignal?: NodeJS.Signals;
  /** Decides whether a process that ended by itself is started again. Default: always. */
  readonly restarts?: (end: ProcessEnd) => boolean;
}

/**
 * A process that is started again whenever it ends:
 *
 *     start() ──► running ──ended──► waiting (100 ms, doubling to 2 s) ──► running …
 *                    │                  │
 *                  stop()             stop()                  restarts() said no
 *                    ▼                  ▼                            ▼
 *         stop signal, wait, SIGKILL ──► ended ◄──────────────────────
 */
export class SupervisedProcess {
  private child: ChildProcess | undefined;
  private timer: NodeJS.Timeout | undefined;
  private backoffMs = backoffMsMin;
  private stopping = false;
  private lastEnd: ProcessEnd | undefined;

  constructor(private readonly spec: ProcessSpec) {}

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** How the last incarnation ended; undefined before the first end. */
  get ended(): ProcessEnd | undefined {
    return this.lastEnd;
  }

  start(): void {
    const { spec } = this;
    const startedAt = performance.now();
    const child = spec.spawn();
    this.child = child;
    const { pid } = child;
    if (pid !== undefined) spec.groups.add(pid, spec.abortSignal);
    child.on('error', (error) => {
      // Without a pid it never ran, and no 'exit' follows. With one, a message to it failed: its exit tells more.
      if (pid === undefined) this.onEnd(startedAt, { how: error.message, exitCode: undefined });
    });
    child.once('exit', (code, signal) => {
      if (pid !== undefined) spec.groups.remove(pid);
      const how = code === null ? `killed by ${signal}` : `exit code ${code}`;
      this.onEnd(startedAt, { how, exitCode: code ?? undefined });
    });
    if (pid !== undefined) spec.onStart?.(child, this.lastEnd);
  }

  /**
   * Asks it to end; what is left after `timeoutMs` ends at once, by its abort signal if it has one and by SIGKILL if
   * that has not helped after `timeoutMs` either. It is not started again.
   */
  async stop(timeoutMs: number): Promise<void> {
    this.stopping = true;
    clearTimeout(this.timer);
    const { child } = this;
    if (child?.pid === undefined) return;
    const { pid } = child;
    const { name, groups, say, stopSignal, abortSignal } = this.spec;
    const over = new AbortController();
    child.once('exit', () => over.abort());
    child.kill(stopSignal ?? 'SIGTERM');
    const last: readonly NodeJS.Signals[] =
      abortSignal === undefined ? ['SIGKILL'] : [abortSignal, 'SIGKILL'];
    for (const signal of last) {
      if (!(await passes(timeoutMs, over.signal))) return;
      say(name, `did not end within ${timeoutMs} ms: ${signal}`);
      groups.kill(pid, signal);
    }
    await passes(killMsMax, over.signal);
  }

  private onEnd(startedAt: number, end: ProcessEnd): void {
    this.child = undefined;
    this.lastEnd = end;
    if (this.stopping || this.spec.restarts?.(end) === false) return;
    if (performance.now() - startedAt >= livedMsMin) this.backoffMs = backoffMsMin;
    this.spec.say(this.spec.name, `ended (${end.how}); starts again in ${this.backoffMs} ms`);
    this.timer = setTimeout(() => this.start(), this.backoffMs);
    this.backoffMs = Math.min(this.backoffMs * 2, backoffMsMax);
  }
}

/** True after `ms`, false as soon as the signal aborts. */
async function passes(ms: number, signal: AbortSignal): Promise<boolean> {
  return delay(ms, true, { signal }).catch(() => false);
}
