import { type ChildProcess, fork } from 'node:child_process';

/** `ready` once; then `received` and `alive` for every request. */
export type ProbeSays = 'ready' | 'received' | 'alive';

/** A child process and what it says, in order: nothing it says is missed, whenever one listens. */
export class ProbeProcess {
  private readonly child: ChildProcess;
  private readonly words: string[] = [];
  private ended: string | undefined;
  private wake: () => void = () => undefined;

  constructor(modulePath: string) {
    this.child = fork(modulePath, [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.child.on('message', (word) => {
      this.words.push(String(word));
      this.wake();
    });
    const end = (how: string): void => {
      this.ended ??= how;
      this.wake();
    };
    this.child.on('error', (error) => end(error.message));
    this.child.on('exit', (code, signal) => end(`the process ended (${signal ?? `exit code ${code}`})`));
  }

  /** A request that cannot be delivered shows as an end of the process. */
  send(request: object): void {
    this.child.send(request, () => undefined);
  }

  /** The next thing it says, or how it failed to: it ended, or was silent for too long. */
  async nextWord(msMax: number): Promise<string> {
    if (this.words.length === 0 && this.ended === undefined) {
      await new Promise<void>((resolve) => {
        // After a pause of this whole process the timer fires before the words that wait are read: one turn more.
        const timer = setTimeout(() => setImmediate(resolve), msMax);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.words.shift() ?? this.ended ?? `the process was silent for ${msMax} ms`;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}
