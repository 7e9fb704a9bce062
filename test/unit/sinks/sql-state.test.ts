import { expect } from 'chai';
import { isRefusal, isStale, isUniqueViolation } from '../../../consumer/sinks/postgres/sql-state.js';

describe('what an error of Postgres says of the rows', () => {
  const error = (code: string, constraint?: string) => Object.assign(new Error(code), { code, constraint });

  it('tells a row that it will never take from everything else', () => {
    for (const code of ['22P05', '22021', '22003', '22P02', '23502', '54000']) {
      expect(isRefusal(error(code)), code).to.equal(true);
    }
    expect(isRefusal(error('23514', 'usage_events_status_check'))).to.equal(true);
    for (const code of [
      '57P01',
      '40001',
      '40P01',
      '53100',
      '42501',
      '55P03',
      '57014',
      '08006',
      'ECONNRESET',
    ]) {
      expect(isRefusal(error(code)), code).to.equal(false);
    }
    expect(isRefusal(new Error('Connection terminated'))).to.equal(false);
    expect(isRefusal(undefined)).to.equal(false);
  });

  it('blames no row for what this process remembers wrongly, or for being there already', () => {
    const noPartition = error('23514');
    for (const stale of [noPartition, error('23503', 'customers_fkey')]) {
      expect(isStale(stale), stale.code).to.equal(true);
      expect(isRefusal(stale), stale.code).to.equal(false);
    }
    expect(isUniqueViolation(error('23505', 'usage_events_pkey'))).to.equal(true);
    expect(isRefusal(error('23505', 'usage_events_pkey'))).to.equal(false);
    expect(isStale(error('23514', 'usage_events_status_check'))).to.equal(false);
  });
});
