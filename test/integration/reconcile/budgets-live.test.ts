import { expect } from 'chai';
import {
  type FullBudgetOptions,
  reconcileAllBudgets,
} from '../../../consumer/reconcile/budgets/full-budgets.js';
import { HotBudgetReader } from '../../../consumer/reconcile/budgets/hot-budgets.js';
import { NEW_STATE } from '../../../consumer/reconcile/budgets/recent-budget-state.js';
import { reconcileRecentBudgets } from '../../../consumer/reconcile/budgets/recent-budgets.js';
import { SinkProgress } from '../../../consumer/reconcile/budgets/sink-progress.js';
import { Keys } from '../../../shared/keys.js';
import { createLogger } from '../../../shared/logging.js';
import { connectPostgres } from '../../../shared/postgres/connect.js';
import { sinkUrl } from '../../../shared/postgres/database-url.js';
import { until } from '../../support/redis-server.js';
import { WeirFixture } from '../../support/weir-fixture.js';

/** Windows end, holds outlive them, expire, are charged and given back within seconds. */
const SETTINGS = {
  ...{ BUDGET_WINDOW_SECONDS: '1', HOLD_SECONDS: '2', HOLD_EXPIRY: 'charge', ARCHIVE_DELAY_MS: '100' },
  ...{ ADMISSION_KEEP_SECONDS: '3', ADMISSION_DEDUPE_SECONDS: '2', ADMISSION_DEADLINE_MS: '5000' },
};
const RUN_MS = 9000;
const TENANTS = ['acme', 'globex', 'initech'];

describe('reconciler of budgets beside a fleet at work', function () {
  this.timeout(60_000);

  it('never sees drift, while windows end, holds expire and are settled late, and workers change', async () => {
    const weir = await WeirFixture.start({ postgres: true, workers: 1, settings: SETTINGS });
    const log = createLogger('test', 'silent');
    const pool = connectPostgres({
      url: sinkUrl(weir.environment['DATABASE_URL']!),
      name: 'test',
      poolMax: 2,
      log,
    });
    try {
      const first = await weir.worker();
      const keys = new Keys(weir.namespace);
      const found: unknown[] = [];
      const options = (): FullBudgetOptions => {
        const { signal } = new AbortController();
        return {
          ...{ pool, signal, sinceMs: 0, statementMsMax: 20_000 },
          hot: new HotBudgetReader(weir.redis, keys, first.config.PARTITIONS),
          progress: new SinkProgress(weir.redis, keys, 2000, signal),
          onDifference: (difference) => found.push(difference),
        };
      };
      const end = Date.now() + RUN_MS;
      let state = NEW_STATE;
      let compared = 0;
      await Promise.all([
        ...TENANTS.map((tenant, i) => repeat(end, spender(weir, tenant, i))),
        repeat(end, async () => {
          compared += (await reconcileAllBudgets(options())).comparedHolds;
        }),
        repeat(end, async () => {
          ({ state } = await reconcileRecentBudgets({ ...options(), runMsMax: 2000 }, state));
        }),
        (async () => {
          await repeat(end - (RUN_MS * 2) / 3, () => Promise.resolve());
          await first.close();
          await weir.worker();
        })(),
      ]);
      expect(found).to.deep.equal([]);
      expect(compared).to.be.greaterThan(0);
      await until(15_000, 'Postgres has everything', async () => {
        const { behind, drifted } = await reconcileAllBudgets(options());
        expect(drifted).to.equal(0);
        return behind === 0;
      });
      const { comparedWindows, lost, leftOut } = await reconcileAllBudgets(options());
      expect({ lost, leftOut, found }).to.deep.equal({ lost: 0, leftOut: 0, found: [] });
      expect(comparedWindows).to.be.greaterThan(15);
      const { rows: kinds } = await pool.query<{ kind: string }>(
        'SELECT DISTINCT kind FROM budget_ledger ORDER BY 1',
      );
      expect(kinds.map(({ kind }) => kind)).to.deep.equal([
        ...['cancel', 'expire', 'grant', 'late_settle', 'overrun', 'reset', 'settle'],
      ]);
      const { rows: revised } = await pool.query('SELECT FROM budget_windows WHERE revision > 1 LIMIT 1');
      expect(revised).to.have.length(1);
    } finally {
      await pool.end();
      await weir.close();
    }
  });
});

async function repeat(end: number, run: () => Promise<unknown>): Promise<void> {
  while (Date.now() < end) {
    await run();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * A client of a tenant. Some admissions are settled for more or less, some cancelled, some forgotten; those are settled
 * once they have expired.
 */
function spender(weir: WeirFixture, tenant: string, salt: number): () => Promise<void> {
  const headers = { 'x-tenant-id': tenant };
  const asked = { pipeline: 'ranking', priority: 'P0', estimated_tokens: 10 + salt };
  const forgotten: { readonly id: string; readonly at: number }[] = [];
  const settle = (id: string, tokens: number) =>
    weir.http.post(`/admissions/${id}/settle`, { actual_tokens: tokens }, headers);
  return async () => {
    const { body } = await weir.http.post<{ admission_id: string }>('/admissions', asked, headers);
    await weir.http.post('/v1/evaluate', asked, headers);
    const random = Math.random();
    if (random < 0.5) await settle(body.admission_id, Math.floor(random * 50));
    else if (random < 0.7) await weir.http.post(`/admissions/${body.admission_id}/cancel`, {}, headers);
    else forgotten.push({ id: body.admission_id, at: Date.now() });
    const [oldest] = forgotten;
    if (oldest === undefined || Date.now() - oldest.at < 2500) return;
    forgotten.shift();
    await settle(oldest.id, random < 0.35 ? 5 : 30);
  };
}
