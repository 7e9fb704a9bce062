import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { FAST } from './workers.js';

/** Which module a worker process runs: the real one, or the one with the dangerous rules of the tests. */
export type WorkerModule = 'consumer/main.js' | 'test/support/dangerous-worker.js';

/** A worker as a process of its own: what can be killed, stopped and resumed. */
export class WorkerProcess {
  private constructor(private readonly child: ChildProcess) {}

  /** Resolves when it says that it works. */
  static async start(
    environment: Readonly<Record<string, string>>,
    module: WorkerModule = 'consumer/main.js',
    onLine?: (line: string) => void,
  ): Promise<WorkerProcess> {
    const path = fileURLToPath(new URL(`../../${module}`, import.meta.url));
    const child = spawn(process.execPath, [path], {
      env: { PATH: process.env['PATH'], ...FAST, ...environment },
      stdio: ['ignore', onLine === undefined ? 'ignore' : 'pipe', 'inherit', 'ipc'],
    });
    if (onLine !== undefined) createInterface({ input: child.stdout! }).on('line', onLine);
    const worker = new WorkerProcess(child);
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      child.once('exit', (code, signal) => reject(new Error(`the worker ended: ${signal ?? code}`)));
    });
    return worker;
  }

  get pid(): number {
    return this.child.pid!;
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (!this.isAlive) return this.child.exitCode;
    const gone = new Promise<number | null>((resolve) => this.child.once('exit', (code) => resolve(code)));
    this.child.kill(signal);
    return gone;
  }
}

/** Keeps `count` workers alive, as the launcher does: one that dies is replaced. */
export class Fleet {
  private workers: (WorkerProcess | undefined)[] = [];
  private readonly starting = new Map<number, Promise<void>>();
  private closed = false;

  private constructor(
    private readonly environment: Readonly<Record<string, string>>,
    private readonly module: WorkerModule,
  ) {}

  static async start(
    count: number,
    environment: Readonly<Record<string, string>>,
    module: WorkerModule = 'consumer/main.js',
  ): Promise<Fleet> {
    const fleet = new Fleet(environment, module);
    await Promise.all(Array.from({ length: count }, (_, index) => fleet.spawn(index)));
    return fleet;
  }

  get alive(): readonly WorkerProcess[] {
    return this.workers.filter((worker): worker is WorkerProcess => worker?.isAlive === true);
  }

  /** Replaces whoever is dead; resolves when the new ones work. */
  async replaceDead(): Promise<void> {
    const dead = [...this.workers.keys()].filter((index) => this.workers[index]?.isAlive !== true);
    await Promise.all(dead.map((index) => this.spawn(index)));
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.starting.values());
    await Promise.all(this.alive.map((worker) => worker.end('SIGKILL')));
  }

  /** One start at a time per place: a second process in the same place would be forgotten and live on. */
  private spawn(index: number): Promise<void> {
    if (this.closed) return Promise.resolve();
    const starting = this.starting.get(index) ?? this.start(index).finally(() => this.starting.delete(index));
    this.starting.set(index, starting);
    return starting;
  }

  private async start(index: number): Promise<void> {
    this.workers[index] = await WorkerProcess.start(this.environment, this.module).catch(() => undefined);
  }
}
