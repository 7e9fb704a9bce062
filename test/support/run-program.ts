import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { newDataDir } from './launcher/launcher-process.js';

export interface Ended {
  readonly code: number | string | null | undefined;
  /** Of both streams: each that is JSON as its message alone. */
  readonly lines: readonly string[];
}

const programs = {
  api: 'api/main.js',
  worker: 'consumer/main.js',
  launcher: 'shared/launcher/main.js',
  reconcile: 'consumer/reconcile/main.js',
  repair: 'consumer/repair/main.js',
  seed: 'shared/postgres/seed-main.js',
};

/** Runs a program that is to end by itself. */
export async function run(
  program: keyof typeof programs,
  environment: Readonly<Record<string, string>>,
): Promise<Ended> {
  const module = fileURLToPath(new URL(`../../${programs[program]}`, import.meta.url));
  const { PATH } = process.env;
  const env = { PATH, PORT: '0', WEIR_DATA_DIR: newDataDir(), ...environment };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [module], { env, timeout: 15_000 }, (_error, out, err) => {
      const lines = `${err}${out}`.split('\n').filter((line) => line !== '');
      resolve({ code: child.exitCode, lines: lines.map(messageOf) });
    });
  });
}

function messageOf(line: string): string {
  return line.startsWith('{') ? (JSON.parse(line) as { msg: string }).msg : line;
}
