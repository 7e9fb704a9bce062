import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { testRedis } from './hooks.js';

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The command, in a process of its own. */
export function runReconcile(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Ended> {
  const module = fileURLToPath(new URL('../../consumer/reconcile/main.js', import.meta.url));
  const env = { PATH: process.env['PATH'], REDIS_URL: testRedis().url, ...environment };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [module, ...args], { env }, (_error, out, err) =>
      resolve({ code: child.exitCode ?? -1, out, err }),
    );
  });
}

/** The reconciler as an operator runs it: everything agrees. @returns what it printed */
export async function expectNoDrift(environment: Readonly<Record<string, string>>): Promise<string> {
  const { code, out, err } = await runReconcile([], { LOG_LEVEL: 'error', ...environment });
  expect([code, code === 0 ? '' : out + err]).to.deep.equal([0, '']);
  return out + err;
}
