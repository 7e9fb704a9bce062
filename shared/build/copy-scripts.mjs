// tsc copies only what it compiles. The Lua scripts lie beside the modules that call them, so they are
// copied to the same places in dist/.
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

for (const folder of ['api', 'consumer', 'shared', 'test']) {
  for (const file of readdirSync(join(root, folder), { recursive: true })) {
    if (!file.endsWith('.lua')) continue;
    const target = join(root, 'dist', folder, file);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(root, folder, file), target);
  }
}
