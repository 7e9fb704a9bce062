// tsc copies only what it compiles, and removes nothing. Lua scripts and SQL lie beside the modules that use them, so they
// are copied to the same places in dist/. What no longer has a source goes: a deleted migration or test would still be run.
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const dist = join(root, 'dist');

for (const folder of ['api', 'consumer', 'rules', 'shared', 'test', 'loadtest/bench']) {
  for (const file of filesIn(join(dist, folder))) {
    const source = join(root, folder, file.replace(/\.js(\.map)?$/, '.ts'));
    if (!existsSync(source)) rmSync(join(dist, folder, file));
  }
}

for (const folder of ['api', 'consumer', 'shared', 'test']) {
  for (const file of filesIn(join(root, folder))) {
    if (!/\.(lua|sql)$/.test(file)) continue;
    const target = join(dist, folder, file);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(root, folder, file), target);
  }
}

/** All files below a folder, relative to it; none where there is no such folder. */
function filesIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1));
}
