import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Processes of a benchmark run, ended by id when it is over, however it ends. */
const running = new Set<ChildProcess>();

export interface Started {
  readonly pid: number;
  readonly url: string;
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
  const child = spawn(process.execPath, [path, ...args], {
    env: { ...process.env, LOG_LEVEL: 'error', ...environment },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${module} ended with exit code ${code}`)));
    child.on('message', (message: { type?: string; url?: string }) => {
      if (message.type === 'listening') resolve(message.url ?? '');
    });
    setTimeout(() => reject(new Error(`${module} did not start within 20 s`)), 20_000).unref();
  });
  return { pid: child.pid!, url, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await gone;
  clearTimeout(killer);
}

export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(stop));
}

/** What went wrong must not leave processes behind. */
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
