import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../redis-server.js';
import { type ProcessEntry, processesOf } from './processes.js';

/** Commands that run a launcher: with stand-ins for API and workers, and the real thing as a user starts it. */
export const commands = {
  standIns: ['node', 'dist/test/support/launcher/main.js'],
  // --ignore-scripts: the build has been done.
  npmStart: ['npm', 'start', '--ignore-scripts'],
  /** On a terminal, as people do. */
  onTerminal: ['script', '--quiet', '--return', '--command', 'npm start --ignore-scripts', '/dev/null'],
} as const;

const readyMsMax = 30_000;

/** As under npm: a launcher ends with its parent, so that a test run that is killed leaves none behind. */
const followParent = { npm_lifecycle_event: 'start' };

/** A launcher on a data folder of its own, with PORT=0 and whatever else `environment` sets. */
export class LauncherProcess {
  output = '';
  exit: { readonly code: number | null } | undefined;

  private constructor(
    private readonly child: ChildProcess,
    readonly dataDir: string,
  ) {
    const collect = (chunk: Buffer): void => {
      this.output += chunk.toString();
    };
    child.stdout!.on('data', collect);
    child.stderr!.on('data', collect);
    // 'close': all output has been read too.
    child.once('close', (code) => {
      this.exit = { code };
    });
  }

  static start(
    [file, ...args]: readonly [string, ...string[]],
    environment: Readonly<Record<string, string>> = {},
    dataDir = newDataDir(),
  ): LauncherProcess {
    const child = spawn(file === 'node' ? process.execPath : file, args, {
      env: {
        ...withoutOurs(process.env),
        ...followParent,
        PORT: '0',
        WEIR_DATA_DIR: dataDir,
        ...environment,
      },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return new LauncherProcess(child, dataDir);
  }

  /** Of the process started: npm's or the launcher's. */
  get pid(): number {
    return this.child.pid!;
  }

  get processes(): readonly ProcessEntry[] {
    return processesOf(this.dataDir);
  }

  /** The pids whose command line matches, in ascending order. */
  pids(command: RegExp): readonly number[] {
    return this.processes.filter((entry) => command.test(entry.command)).map(({ pid }) => pid);
  }

  /** The first match in the output, once there is one. */
  async says(pattern: RegExp, deadlineMs = 10_000): Promise<RegExpExecArray> {
    await until(deadlineMs, `${pattern} in the output`, () => pattern.test(this.output)).catch((error) => {
      throw new Error(`${error.message}; the output is:\n${this.output}`);
    });
    return pattern.exec(this.output)!;
  }

  /** Resolves with the URL of the API. */
  async ready(): Promise<string> {
    const [, url] = await this.says(/^ready {4}POST (http:\S+)\/event$/m, readyMsMax);
    return url!;
  }

  /** Resolves once both stand-ins for a worker handle their signals; the stand-in for the API does not ask them. */
  async workersRun(): Promise<void> {
    await this.says(/(stand-in worker runs\n.*){2}/s);
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.pid, name);
  }

  /**
   * kill -9. Its stores, which end 2 s after it, are kept until the function returned is called: a slow machine starts no
   * other launcher in that time.
   */
  killKeepingStores(): () => void {
    const guards = this.pids(/ weir-guard /);
    for (const pid of guards) process.kill(pid, 'SIGSTOP');
    this.signal('SIGKILL');
    return () => {
      for (const pid of guards) process.kill(pid, 'SIGCONT');
    };
  }

  /** Ctrl-C in a terminal: SIGINT to the whole foreground group. */
  ctrlC(): void {
    process.kill(-this.pid, 'SIGINT');
  }

  /** Waits for the end; resolves with the exit code (null after a signal). */
  async ended(deadlineMs = 20_000): Promise<number | null> {
    await until(deadlineMs, 'the launcher ends', () => this.exit !== undefined).catch((error) => {
      throw new Error(`${error.message}; the output is:\n${this.output}`);
    });
    return this.exit!.code;
  }

  /** Waits until no process of this launcher is left, the launcher included. */
  async gone(deadlineMs = 15_000): Promise<void> {
    await until(deadlineMs, 'nothing is left running', () => this.processes.length === 0).catch((error) => {
      throw new Error(`${error.message}; left: ${JSON.stringify(this.processes)}`);
    });
  }

  /** Ends whatever a failed test left, by pid, and deletes the data. */
  async clean(): Promise<void> {
    await until(10_000, 'the left processes end', () => {
      for (const { pid } of this.processes) kill(pid);
      return this.processes.length === 0;
    });
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

/**
 * With the ports of a run before it, and not the ones that every launcher prefers: another launcher would take them while
 * a test restarts its own.
 */
export function newDataDir(): string {
  const dataDir = mkdtempSync(join(tmpdir(), 'weir-launcher-'));
  for (const store of ['redis', 'postgres']) {
    mkdirSync(join(dataDir, store), { mode: 0o700 });
    writeFileSync(join(dataDir, store, 'port'), `${randomInt(10_000, 32_000)}\n`);
  }
  return dataDir;
}

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

/** The tests may themselves run under npm and with settings of weir. */
function withoutOurs(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const ours = ['npm_lifecycle_event', 'REDIS_URL', 'REDIS_HOST', 'DATABASE_URL'];
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !ours.includes(name)));
}
