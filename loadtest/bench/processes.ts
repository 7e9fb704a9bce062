import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { API_NODE_FLAGS } from '../../shared/api-node-flags.js';

/** Processes of a benchmark run, ended by id when it is over, however it ends. */
const running = new Map<ChildProcess, Kill>();

type Kill = (signal: NodeJS.Signals) => void;

const START_MS_MAX = 20_000;
const STOP_MS_MAX = 10_000;
/** Unit of the times in /proc/<pid>/stat on Linux. */
const TICKS_PER_SECOND = 100;

export interface Started {
  readonly pid: number;
  readonly url: string;
  /** Sends `job` over IPC and waits for `{ type: 'result', result }`. One at a time. @throws after `deadlineMs` */
  ask(job: object, deadlineMs: number): Promise<unknown>;
  stop(): Promise<void>;
}

/**
 * Starts one of our own modules (path inside `dist/`) and waits until it says where it listens, by IPC message
 * `{ type: 'listening', url }`.
 */
export async function startProcess(
  module: string,
  environment: Readonly<Record<string, string>>,
  args: readonly string[] = [],
): Promise<Started> {
  const path = fileURLToPath(new URL(`../../${module}`, import.meta.url));
  const child = spawn(process.execPath, [...nodeFlags(module), ...profileFlags(module), path, ...args], {
    // None of the caller's own settings: the run says what it measures.
    env: { PATH: process.env['PATH'], LOG_LEVEL: 'error', ...environment },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  track(child);
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${module} ended with exit code ${code}`)));
    child.on('message', (message: { type?: string; url?: string }) => {
      if (message.type === 'listening') resolve(message.url ?? '');
    });
    setTimeout(
      () => reject(new Error(`${module} did not start in ${START_MS_MAX} ms`)),
      START_MS_MAX,
    ).unref();
  });
  return {
    pid: child.pid!,
    url,
    ask: (job, deadlineMs) => ask(child, module, job, deadlineMs),
    stop: () => stopChild(child, 'SIGTERM'),
  };
}

/** As `npm start` runs them; a peer of the API gets what the API gets. */
function nodeFlags(module: string): readonly string[] {
  return module.startsWith('api/') || /-api\.js$|fastify-peer/.test(module) ? API_NODE_FLAGS : [];
}

/** `BENCH_PROFILE=api/main.js` writes a CPU profile of that module to the working directory. */
function profileFlags(module: string): string[] {
  return process.env['BENCH_PROFILE'] === module ? ['--cpu-prof'] : [];
}

/** From now on the child ends with this process. */
export function track(child: ChildProcess, kill: Kill = (signal) => child.kill(signal)): void {
  running.set(child, kill);
  child.once('exit', () => running.delete(child));
}

function ask(child: ChildProcess, module: string, job: object, deadlineMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void): void => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      end();
    };
    const onMessage = (message: { type?: string; result?: unknown; error?: string }): void => {
      if (message.type === 'result') settle(() => resolve(message.result));
      if (message.type === 'failed') settle(() => reject(new Error(`${module}: ${message.error}`)));
    };
    const onExit = (code: number | null): void =>
      settle(() => reject(new Error(`${module} ended with exit code ${code}`)));
    const timer = setTimeout(
      () => settle(() => reject(new Error(`${module}: no result within ${deadlineMs} ms`))),
      deadlineMs,
    );
    child.on('message', onMessage);
    child.on('exit', onExit);
    child.send(job);
  });
}

export async function stopChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const kill = running.get(child);
  if (kill === undefined) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  kill(signal);
  const killer = setTimeout(() => kill('SIGKILL'), STOP_MS_MAX);
  await gone;
  clearTimeout(killer);
}

export async function stopAll(): Promise<void> {
  await Promise.all([...running.keys()].map((child) => stopChild(child, 'SIGTERM')));
}

/** What went wrong must not leave processes behind. */
process.on('exit', () => {
  for (const kill of running.values()) kill('SIGKILL');
});

/** CPU time a process has used, in ms; undefined where the system does not tell (not Linux). */
export function cpuMs(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field, the command's name, may hold spaces; it ends with the last `)`.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1000;
  } catch {
    return undefined;
  }
}
