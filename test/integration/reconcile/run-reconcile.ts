import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { testRedis } from '../../support/hooks.js';

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The command, in a process of its own. */
export function runReconcile(args: readonly string[], environment: Record<string, string>): Promise<Ended> {
  const module = fileURLToPath(new URL('../../../consumer/reconcile/main.js', import.meta.url));
  const env = { PATH: process.env['PATH'], REDIS_URL: testRedis().url, ...environment };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [module, ...args], { env }, (_error, out, err) =>
      resolve({ code: child.exitCode ?? -1, out, err }),
    );
  });
}
