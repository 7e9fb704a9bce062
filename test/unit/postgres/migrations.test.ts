import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { migrationNames, migrationsFolder } from '../../../shared/postgres/migrations.js';

describe('migrations', () => {
  const names = migrationNames();

  it('are numbered from 0001 without a gap', () => {
    expect(names.map((name) => Number(name.slice(0, 4)))).to.deep.equal(names.map((_, index) => index + 1));
    for (const name of names) expect(name).to.match(/^\d{4}_[a-z0-9-]+$/);
  });

  it('only roll forward', () => {
    for (const name of names) {
      const text = readFileSync(join(migrationsFolder, `${name}.sql`), 'utf8');
      expect(text).to.match(/^-- Up Migration\n/);
      expect(text).not.to.match(/^\s*--\s*Down Migration/im);
    }
  });
});
