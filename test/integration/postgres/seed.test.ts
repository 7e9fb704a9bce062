import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import pino from 'pino';
import { migrate } from '../../../shared/postgres/migrate.js';
import { seed } from '../../../shared/postgres/seed.js';
import { testPostgres } from '../../support/hooks.js';

const silent = pino({ level: 'silent' });
const main = fileURLToPath(new URL('../../../shared/postgres/seed-main.js', import.meta.url));

function run(environment: Readonly<Record<string, string>>) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main], {
    env: { PATH: process.env['PATH'] ?? '', ...environment },
    encoding: 'utf8',
    timeout: 15_000,
  });
  return { status, stdout, stderr };
}

describe('npm run seed', () => {
  it('fills an empty database, and again changes nothing', async () => {
    const url = await (await testPostgres()).createDatabase();
    const seeded = { tenants: 3, customers: 5, budgets: 2 };
    expect(await seed(url, silent)).to.deep.equal(seeded);
    expect(await seed(url, silent)).to.deep.equal(seeded);
  });

  it('takes DATABASE_URL', async () => {
    const url = await (await testPostgres()).createDatabase();
    await migrate(url, silent, { waitMs: 10_000 });
    const { status, stdout } = run({ DATABASE_URL: url });
    expect(status).to.equal(0);
    expect(stdout).to.include('seeded');
  });

  it('says what to do where there is no database', () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-seed-'));
    try {
      const { status, stderr } = run({ WEIR_DATA_DIR: folder });
      expect(status).to.equal(1);
      expect(stderr).to.match(/^no database: set DATABASE_URL/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
