import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from './redis-server.js';

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A process of weir whose log is read. */
export class LoggedProcess {
  private output = '';

  private constructor(private readonly child: ChildProcess) {
    child.stdout!.on('data', (chunk: Buffer) => {
      this.output += chunk.toString();
    });
  }

  /** @param module `consumer/main.js` */
  static start(module: string, environment: Readonly<Record<string, string>>): LoggedProcess {
    const path = fileURLToPath(new URL(`../../${module}`, import.meta.url));
    const child = spawn(process.execPath, [path], {
      env: { PATH: process.env['PATH'], ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return new LoggedProcess(child);
  }

  get log(): readonly LogLine[] {
    // The last line may not be whole yet.
    return this.output
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** Messages of a level or above: 30 is info, 40 warn. */
  messages(level: number): readonly string[] {
    return this.log.filter((line) => line.level >= level).map(({ msg }) => msg);
  }

  async says(message: string, deadlineMs = 15_000): Promise<void> {
    await until(deadlineMs, `the log says ${message}`, () => this.log.some(({ msg }) => msg === message));
  }

  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, 'exit');
    this.child.kill(signal);
    await gone;
  }
}
