import type { Topic } from '../../shared/topics.js';
import { ProbeProcess, type ProbeSays } from './probe-process.js';
import type { Input, Processor } from './processor.js';

/** How often a single input is tried in a fresh process before it is blamed: a process may be killed from outside. */
const ATTEMPTS_MAX = 3;

export interface ProbeRequest {
  readonly topic: Topic;
  /** In order; each sees what those before it have written. */
  readonly inputs: readonly Input[];
  /** Documents as Redis holds them. */
  readonly documents: readonly (readonly [name: string, text: string | null])[];
  readonly members: readonly string[];
}

export type ProbeVerdict =
  | { readonly survived: true }
  | { readonly survived: false; readonly reason: string };

/** Folds inputs where they can do no harm, to see whether they kill or hang the process that folds them. */
export interface Probe {
  tryFold(request: ProbeRequest): Promise<ProbeVerdict>;
}

/** How long a probe process may take to start, on however slow a machine. */
const START_MS_MAX = 30_000;
/** A probe process that has nothing to do for this long is ended. */
const IDLE_MS_MAX = 5000;

/**
 * The proof that an input is the culprit: a process of its own, which folds nothing but this input, dies or
 * hangs between saying that it has received it and saying that it is still alive - several times, each in a fresh
 * process, while its parent lives. A probe that does not start blames nobody. Whoever kills workers from outside
 * kills the parent too, or would have to hit the same message every time. A fold that merely throws survives.
 */
export class ProcessProbe implements Probe {
  private child: ProbeProcess | undefined;
  /** One request at a time: the partitions of a worker share the process. */
  private turn: Promise<unknown> = Promise.resolve();
  private idle: NodeJS.Timeout | undefined;

  /** @param modulePath module that calls `serveProbe` */
  constructor(
    private readonly modulePath: string,
    private readonly foldMsMax: number,
  ) {}

  /** @throws when no probe process can be started: then nothing is known about the input */
  tryFold(request: ProbeRequest): Promise<ProbeVerdict> {
    const verdict = this.turn.then(() => this.tryInTurn(request));
    this.turn = verdict.catch(() => undefined);
    return verdict;
  }

  private async tryInTurn(request: ProbeRequest): Promise<ProbeVerdict> {
    clearTimeout(this.idle);
    try {
      return await this.tryRepeatedly(request);
    } finally {
      // Caution is rare: its process does not outlive it for long.
      this.idle = setTimeout(() => this.close(), IDLE_MS_MAX).unref();
    }
  }

  private async tryRepeatedly(request: ProbeRequest): Promise<ProbeVerdict> {
    // Several inputs are not blamed, only tried one by one after: once is enough.
    const attemptsMax = request.inputs.length > 1 ? 1 : ATTEMPTS_MAX;
    let reason: string | undefined;
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      this.child ??= await this.start();
      reason = await this.attempt(this.child, request);
      if (reason === undefined) return { survived: true };
      this.close();
    }
    return { survived: false, reason: `${reason} (${attemptsMax} times)` };
  }

  close(): void {
    clearTimeout(this.idle);
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
      if (processor !== undefined) foldInOrder(processor, request);
      say('alive');
    });
  });
  say('ready');
}

function foldInOrder(processor: Processor, { documents, inputs, members }: ProbeRequest): void {
  const texts = new Map(documents);
  const written = new Map<string, unknown>();
  const read = (name: string): unknown => {
    if (written.has(name)) return written.get(name);
    const text = texts.get(name) ?? null;
    return text === null ? null : processor.decode(name, text);
  };
  const step = {};
  for (const input of inputs) {
    try {
      const result = processor.fold(input, read, new Map(), members, step);
      for (const [name, document] of result.writes) written.set(name, document);
    } catch {
      // A fold that throws is no danger to its process; the worker will see the same error.
    }
  }
}
