import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const INSTALL_MS_MAX = 300_000;

/** Installs the packages of this folder, unless the one that is needed is there already. */
export function install(needed, ...options) {
  if (existsSync(join(here, 'node_modules', needed))) return;
  process.stdout.write(`installing ${needed} and others in loadtest/, once\n`);
  // What artillery would download is a browser, for scenarios that we do not have.
  const env = { ...process.env, PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD: '1' };
  const args = ['ci', '--no-audit', '--no-fund', ...options];
  const { status } = spawnSync('npm', args, { cwd: here, env, stdio: 'inherit', timeout: INSTALL_MS_MAX });
  if (status !== 0) throw new Error(`${needed} could not be installed`);
}
