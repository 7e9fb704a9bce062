import { expect } from 'chai';
import { isPostgresTransient, isUnmigrated, sqlState } from '../../../shared/postgres/errors.js';

function failure(message: string, code?: string): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}

describe('errors of Postgres', () => {
  for (const [what, error] of [
    ['a server that is away', failure('connect ECONNREFUSED', 'ECONNREFUSED')],
    ['a broken pipe, whose code looks like a SQLSTATE', failure('write EPIPE', 'EPIPE')],
    ['a lost connection', failure('Connection terminated unexpectedly')],
    ['no free connection', failure('timeout exceeded when trying to connect')],
    ['a server that hangs', failure('Query read timeout')],
    ['a shutdown', failure('terminating connection due to administrator command', '57P01')],
    ['a start', failure('the database system is starting up', '57P03')],
    ['too many connections', failure('sorry, too many clients already', '53300')],
    ['a full disk', failure('could not extend file', '53100')],
    ['a deadlock', failure('deadlock detected', '40P01')],
    ['a lock that is not free', failure('canceling statement due to lock timeout', '55P03')],
    ['a statement that takes too long', failure('canceling statement due to statement timeout', '57014')],
    ['a standby', failure('cannot execute INSERT in a read-only transaction', '25006')],
  ] as const) {
    it(`pass by themselves: ${what}`, () => expect(isPostgresTransient(error)).to.equal(true));
  }

  for (const [what, error] of [
    ['a row that violates a constraint', failure('violates check constraint', '23514')],
    ['a value that is none', failure('invalid byte sequence', '22021')],
    ['a missing table', failure('relation does not exist', '42P01')],
    ['a privilege', failure('permission denied', '42501')],
    ['a defect of ours', new TypeError('x is undefined')],
    ['what is no error', 'ECONNREFUSED'],
  ] as const) {
    it(`do not pass by themselves: ${what}`, () => expect(isPostgresTransient(error)).to.equal(false));
  }

  it('tell a database that was not migrated from one that is away', () => {
    expect(isUnmigrated(failure('password authentication failed', '28P01'))).to.equal(true);
    expect(isUnmigrated(failure('function weir_schema_version() does not exist', '42883'))).to.equal(true);
    expect(isUnmigrated(failure('connect ECONNREFUSED', 'ECONNREFUSED'))).to.equal(false);
    expect(isUnmigrated(failure('the database system is starting up', '57P03'))).to.equal(false);
  });

  it('have a SQLSTATE only if the server sent them', () => {
    expect(sqlState(failure('x', '42501'))).to.equal('42501');
    expect(sqlState(failure('x', 'EPIPE'))).to.equal(undefined);
    expect(sqlState(failure('x'))).to.equal(undefined);
  });
});
