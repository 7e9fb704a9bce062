import { expect } from 'chai';
import type pg from 'pg';
import pino from 'pino';
import { PostgresCheck } from '../../../api/operations/postgres-check.js';

const NEWEST = '0003_installation';

interface Row {
  readonly version: string | null;
  readonly bound: boolean;
  /** Whose it is. */
  readonly owner?: { readonly namespace: string; readonly partitions: number };
}

/** A check of a Postgres that answers as told, and what was logged and asked. */
function checked(answers: readonly (Row | Error | 'never')[]) {
  const logged: string[] = [];
  let asked = 0;
  const pool = {
    query: async (text: string) => {
      if (text.includes('FROM installation')) {
        const last = answers[Math.min(asked, answers.length) - 1] as Row;
        return { rows: last.owner === undefined ? [] : [last.owner] };
      }
      const answer = answers[Math.min(asked, answers.length - 1)];
      asked += 1;
      if (answer instanceof Error) throw answer;
      return answer === 'never' ? new Promise(() => undefined) : { rows: [answer] };
    },
  } as unknown as pg.Pool;
  const log = pino(
    { level: 'info' },
    { write: (line: string) => logged.push((JSON.parse(line) as { msg: string }).msg) },
  );
  const check = new PostgresCheck({ pool, log, newest: NEWEST, deadlineMs: 20, ...OURS });
  return { check, logged, asked: () => asked };
}

const OURS = { namespace: 'weir', partitions: 8 };
const UP: Row = { version: NEWEST, bound: true };

describe('the check of Postgres for /ready', () => {
  for (const [state, what, answer] of [
    ['ok', 'the newest schema', UP],
    ['ok', 'a newer one', { version: '0003_more', bound: true }],
    ['ok', 'one that is ours', { ...UP, owner: OURS }],
    ['another_installation', 'one of another namespace', { ...UP, owner: { ...OURS, namespace: 'x' } }],
    ['another_installation', 'one of other partitions', { ...UP, owner: { ...OURS, partitions: 4 } }],
    ['migrating', 'an older one', { version: '0001_metering', bound: true }],
    ['migrating', 'none at all', { version: null, bound: true }],
    ['migrating', 'a role that is not made yet', Object.assign(new Error('no'), { code: '28P01' })],
    ['down', 'a role that nothing binds', { version: NEWEST, bound: false }],
    ['down', 'a server that is away', Object.assign(new Error('no'), { code: 'ECONNREFUSED' })],
    ['down', 'a server that does not answer', 'never'],
  ] as const) {
    it(`says ${state} of ${what}`, async () => {
      expect(await checked([answer]).check.state()).to.equal(state);
    });
  }

  it('asks once, however many want to know, and again when it has been answered', async () => {
    const { check, asked } = checked([UP]);
    expect(await Promise.all([check.state(), check.state(), check.state()])).to.deep.equal([
      'ok',
      'ok',
      'ok',
    ]);
    expect(asked()).to.equal(1);
    await check.state();
    expect(asked()).to.equal(2);
  });

  it('says nothing of a schema that a worker is just making', async () => {
    const role = Object.assign(new Error('password authentication failed'), { code: '28P01' });
    const { check, logged } = checked([role, { version: null, bound: true }, UP]);
    for (let n = 0; n < 3; n += 1) await check.state();
    expect(logged).to.deep.equal([]);
  });

  it('logs a change, not every answer', async () => {
    const { check, logged } = checked([UP, new Error('away'), new Error('away'), UP, UP]);
    for (let n = 0; n < 5; n += 1) await check.state();
    expect(logged).to.deep.equal(['postgres is not ready', 'postgres is ready']);
  });
});
