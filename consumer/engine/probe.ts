import type { Topic } from '../../shared/topics.js';
import { ProbeProcess, type ProbeSays } from './probe-process.js';
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

/** How long a probe process may take to start, on however slow a machine. */
const START_MS_MAX = 30_000;

/**
 * The proof that a message is the culprit: a process of its own, which folds nothing but this message, dies or
 * hangs between saying that it has received it and saying that it is still alive - several times, each in a fresh
 * process, while its parent lives. A probe that does not start blames nobody. Whoever kills workers from outside
 * kills the parent too, or would have to hit the same message every time. A fold that merely throws survives.
 */
export class ProcessProbe implements Probe {
  private child: ProbeProcess | undefined;

  /** @param modulePath module that calls `serveProbe` */
  constructor(
    private readonly modulePath: string,
    private readonly foldMsMax: number,
  ) {}

  /** @throws when no probe process can be started: then nothing is known about the input */
  async tryFold(request: ProbeRequest): Promise<ProbeVerdict> {
    let reason: string | undefined;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      this.child ??= await this.start();
      reason = await this.attempt(this.child, request);
      if (reason === undefined) return { survived: true };
      this.close();
    }
    return { survived: false, reason: `${reason} (alone, ${ATTEMPTS_MAX} times)` };
  }

  close(): void {
    this.child?.kill();
    this.child = undefined;
  }

  private async start(): Promise<ProbeProcess> {
    const child = new ProbeProcess(this.modulePath);
    const word = await child.nextWord(START_MS_MAX);
    if (word === 'ready') return child;
    child.kill();
    throw new Error(`the probe process did not start: ${word}`);
  }

  /** undefined when the fold came back, else what happened. */
  private async attempt(child: ProbeProcess, request: ProbeRequest): Promise<string | undefined> {
    child.send(request);
    const first = await child.nextWord(START_MS_MAX);
    if (first !== 'received') {
      this.close();
      throw new Error(`the probe process did not take the input: ${first}`);
    }
    const second = await child.nextWord(this.foldMsMax);
    return second === 'alive' ? undefined : `folding it: ${second}`;
  }
}

/** The probe process: folds what it is sent, forgets the result, says that it is still alive. */
export function serveProbe(processors: readonly Processor[]): void {
  const say = (word: ProbeSays, then: () => void = () => undefined): void => {
    // Nobody may be left to hear it; then the channel closes, and this process ends with it.
    process.send?.(word, undefined, undefined, then);
  };
  process.on('disconnect', () => process.exit(0));
  process.on('message', (request: ProbeRequest) => {
    const processor = processors.find(({ topic }) => topic === request.topic);
    // Only once it is on its way: a fold that kills this process must not be taken for one that never began.
    say('received', () => {
      if (processor !== undefined) foldOnce(processor, request);
      say('alive');
    });
  });
  say('ready');
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
