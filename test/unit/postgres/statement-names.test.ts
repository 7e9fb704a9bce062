import { expect } from 'chai';
import { StatementNames } from '../../../shared/postgres/statement-names.js';

describe('names of prepared statements', () => {
  it('are one for each text, and end after a hundred', () => {
    const names = new StatementNames();
    const given = Array.from({ length: 150 }, (_, index) => names.nameOf(`SELECT ${index}`));
    expect(new Set(given.slice(0, 100)).size).to.equal(100);
    expect(given.slice(0, 100)).not.to.include(undefined);
    expect(new Set(given.slice(100))).to.deep.equal(new Set([undefined]));
    expect(names.nameOf('SELECT 7')).to.equal(given[7]);
  });
});
