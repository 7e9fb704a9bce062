import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { windowDocument } from '../../../shared/keys.js';
import type { BudgetReconciliation } from '../../../shared/reconciliation/budget-reconciliation.js';
import type { Reconciliation } from '../../../shared/reconciliation/reconciliation.js';
import { testPostgres } from '../../support/hooks.js';
import { freePort } from '../../support/redis-server.js';
import { type Ended, runReconcile } from '../../support/run-reconcile.js';
import { ReconcileUnderTest, T0 } from './reconcile-under-test.js';

describe('npm run reconcile', () => {
  let weir: ReconcileUnderTest;

  beforeEach(async () => {
    weir = await ReconcileUnderTest.start();
    weir.count(0).count(100).count(31_000).count(300_000, { customer: 'c2' });
    await (await weir.archive()).store();
  });

  afterEach(() => weir.close());

  const reconcile = (args: string[] = [], environment: Record<string, string> = {}): Promise<Ended> =>
    runReconcile(args, {
      ...{ DATABASE_URL: weir.postgres.url, WEIR_NAMESPACE: weir.keys.namespace },
      ...environment,
    });

  it('says that all agree, and exits 0', async () => {
    const { code, out, err } = await reconcile();
    expect(out.replaceAll(/\d+\.\d s/g, '1.0 s').split('\n')).to.deep.equal([
      '5 windows compared with the raw events in 1.0 s',
      'no drift',
      'no event counted twice',
      '0 budget windows compared with the ledger in 1.0 s',
      'no drift of budgets',
      '',
    ]);
    expect({ code, err }).to.deep.equal({ code: 0, err: '' });
  });

  it('says what disagrees, and exits 1', async () => {
    await weir.tamper(windowDocument('acme', T0, 'c1'), (document) => {
      document['tokens'] = 21;
    });
    await weir.postgres.query('DELETE FROM aggregation_windows WHERE window_start = $1', [
      new Date(T0 + 30_000),
    ]);
    const { code, out } = await reconcile();
    expect(out.split('\n').slice(1, 4)).to.deep.equal([
      'DRIFT in 2 window(s):',
      '  acme "c1" 2026-01-15T10:00:30.000Z: no window in Postgres for 1 raw event(s)',
      '  acme "c1" 2026-01-15T10:00:00.000Z tokens: Redis says 21, raw events say 20',
    ]);
    expect(code).to.equal(1);
  });

  it('prints JSON, of windows since a time', async () => {
    const { code, out } = await reconcile(['--json', '--since', '2026-01-15T10:00:30Z']);
    const { at, budgets, ...result } = JSON.parse(out) as Reconciliation & { budgets: BudgetReconciliation };
    expect(Date.parse(at)).to.be.greaterThan(T0);
    expect(result).to.deep.equal({
      ...{ comparedWindows: 3, pending: 0, leftOut: 0, lagSeconds: 0 },
      ...{ outside: 0, drifted: 0, drift: [] },
      countedAgain: { ids: 0, again: 0, first: [] },
    });
    expect(budgets).to.deep.include({ comparedWindows: 0, drifted: 0, drift: [] });
    expect(code).to.equal(0);
  });

  it('exits 2 when it cannot compare, and says why without a password', async () => {
    const port = await freePort();
    const away = [
      await reconcile([], { DATABASE_URL: `postgres://weir:secret-1@127.0.0.1:${port}/weir` }),
      await reconcile([], { REDIS_URL: `redis://:secret-2@127.0.0.1:${port}` }),
      // Nobody has migrated it.
      await reconcile([], { DATABASE_URL: await (await testPostgres()).createDatabase() }),
    ];
    for (const { code, out, err } of away) {
      expect({ code, out }).to.deep.equal({ code: 2, out: '' });
      expect(err).to.match(/^not compared: .+\n$/);
      expect(err).not.to.include('secret');
    }
  });

  it('exits 2 without stores, and for arguments it does not know', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weir-reconcile-'));
    try {
      const none = await reconcile([], { REDIS_URL: '', DATABASE_URL: '', WEIR_DATA_DIR: folder });
      expect(none).to.deep.equal({
        code: 2,
        out: '',
        err: 'not compared: set REDIS_URL and DATABASE_URL, or run `npm start` on the same WEIR_DATA_DIR\n',
      });
    } finally {
      await rm(folder, { recursive: true });
    }
    for (const args of [['--sinc', 'x'], ['--since', 'yesterday'], ['everything']]) {
      const { code, err } = await reconcile(args);
      expect(code, args.join(' ')).to.equal(2);
      expect(err).to.include('npm run reconcile -- [options]');
    }
  });
});
