import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { configurationDocs, configurationDocsPath } from '../../shared/build/write-configuration-docs.js';
import { configSchema } from '../../shared/config.js';

describe('docs/configuration.md', () => {
  it('is what `npm run docs:configuration` writes', () => {
    expect(readFileSync(configurationDocsPath, 'utf8')).to.equal(configurationDocs());
  });

  it('has one row for every setting, with a meaning', () => {
    const rows = configurationDocs()
      .split('\n')
      .filter((line) => /^\| `[A-Z]/.test(line));
    expect(rows.map((row) => /`([A-Z_]+)`/.exec(row)![1])).to.deep.equal(Object.keys(configSchema.shape));
    for (const row of rows)
      expect(row)
        .to.match(/ \| [^|]{10,} \|$/)
        .and.not.include('undefined');
  });
});
