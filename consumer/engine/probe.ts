import { type ChildProcess, fork } from 'node:child_process';
import type { Topic } from '../../shared/topics.js';
import type { Input, Processor } from './processor.js';

/** How often an input is tried in a fresh process before it is blamed: a process may also be killed from outside. */
const ATTEMPTS_MAX = 3;

export interface ProbeRequest {
  readonly topic: Topic;
  readonly input: Input;
  /** Documents as Redis holds them. */
  readonly documents: readonly (readonly [name: string, text: string | null])[];
  readonly members: readonly string[];
}

export type ProbeVerdict =
  | { readonly survived: true }
  | { readonly survived: false; readonly reason: string };

/** Folds an input where it can do no harm, to see whether it kills or hangs the process that folds it. */
export interface Probe {
  tryFold(request: ProbeRequest): Promise<ProbeVerdict>;
}

/**
 * The proof that a message is the culprit: a process of its own, which folds nothing but this message, dies or
 * hangs while its parent lives - several times, each in a fresh process. Whoever kills workers from outside kills
 * the parent too, or would have to hit the same message every time. A fold that merely throws survives.
 */
export class ProcessProbe implements Probe {
  private child: ChildProcess | undefined;

  /** @param modulePath module that calls `serveProbe` */
  constructor(
    private readonly modulePath: string,
    private readonly timeoutMs: number,
  ) {}

  async tryFold(request: ProbeRequest): Promise<ProbeVerdict> {
    let reason = '';
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      reason = await this.attempt(request);
      if (reason === '') return { survived: true };
      this.close();
    }
    return { survived: false, reason: `${reason} (alone, ${ATTEMPTS_MAX} times)` };
  }

  close(): void {
    this.child?.kill('SIGKILL');
    this.child = undefined;
  }

  /** Empty when the fold came back, else what happened. */
  private attempt(request: ProbeRequest): Promise<string> {
    this.child ??= fork(this.modulePath, [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const { child, timeoutMs } = this;
    return new Promise((resolve) => {
      const done = (reason: string): void => {
        clearTimeout(timer);
        child.removeAllListeners();
        // A child whose channel breaks later must not take the worker with it.
        child.on('error', () => undefined);
        resolve(reason);
      };
      const timer = setTimeout(() => done(`folding it hung for ${timeoutMs} ms`), timeoutMs);
      child.on('message', () => done(''));
      child.on('error', (error) => done(`the probe failed: ${error.message}`));
      child.on('exit', (code, signal) =>
        done(`folding it ended the process (${signal ?? `exit code ${code}`})`),
      );
      child.send(request, (error) => {
        if (error !== null) done(`the probe cannot be reached: ${error.message}`);
      });
    });
  }
}

/** The probe process: folds what it is sent, forgets the result, says that it is still alive. */
export function serveProbe(processors: readonly Processor[]): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', (request: ProbeRequest) => {
    const processor = processors.find(({ topic }) => topic === request.topic);
    if (processor !== undefined) foldOnce(processor, request);
    process.send?.('alive');
  });
}

function foldOnce(processor: Processor, { documents, input, members }: ProbeRequest): void {
  try {
    const decoded = new Map(
      documents.map(([name, text]) => [name, text === null ? null : processor.decode(name, text)]),
    );
    processor.fold(input, (name) => decoded.get(name) ?? null, new Map(), members);
  } catch {
    // A fold that throws is no danger to its process; the worker will see the same error.
  }
}
