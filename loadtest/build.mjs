import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install } from './install.mjs';

/** `npm run build:bench`: the benchmarks into dist/, with their peers; `npm run build` leaves them out. */
const root = dirname(dirname(fileURLToPath(import.meta.url)));

install('fastify', '--omit=optional');
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const { status } = spawnSync(process.execPath, [tsc, '-p', 'loadtest'], { cwd: root, stdio: 'inherit' });
if (status !== 0) process.exit(1);
// A program in dist/loadtest/bench looks for its packages in the folders above it.
const link = join(root, 'dist', 'loadtest', 'node_modules');
mkdirSync(dirname(link), { recursive: true });
rmSync(link, { force: true });
symlinkSync('../../loadtest/node_modules', link);
