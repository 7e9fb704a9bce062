// tsc copies only what it compiles. Lua scripts and SQL lie beside the modules that use them, so they are copied to
// the same places in dist/. Migrations that are no longer in the source must not stay there: they would be run.
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

for (const folder of ['api', 'consumer', 'shared', 'test']) {
  for (const file of readdirSync(join(root, folder), { recursive: true })) {
    if (!/\.(lua|sql)$/.test(file)) continue;
    const target = join(root, 'dist', folder, file);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(root, folder, file), target);
  }
}

const migrations = 'shared/postgres/migrations';
for (const file of readdirSync(join(root, 'dist', migrations))) {
  if (!existsSync(join(root, migrations, file))) rmSync(join(root, 'dist', migrations, file));
}
