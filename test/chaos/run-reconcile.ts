import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

/** The reconciler as an operator runs it: everything agrees. @returns what it printed */
export async function expectNoDrift(environment: Readonly<Record<string, string>>): Promise<string> {
  const path = fileURLToPath(new URL('../../consumer/reconcile/main.js', import.meta.url));
  const child = spawn(process.execPath, [path], {
    env: { PATH: process.env['PATH'], LOG_LEVEL: 'error', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let report = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      report += data.toString();
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  expect([code, code === 0 ? '' : report]).to.deep.equal([0, '']);
  return report;
}
