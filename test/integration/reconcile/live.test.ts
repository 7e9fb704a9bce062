import { expect } from 'chai';
import { type FullOptions, reconcileAll } from '../../../consumer/reconcile/full-run.js';
import { reconcileRecent } from '../../../consumer/reconcile/recent-run.js';
import type { RecentState } from '../../../consumer/reconcile/recent-state.js';
import { Keys } from '../../../shared/keys.js';
import { createLogger } from '../../../shared/logging.js';
import { connectPostgres } from '../../../shared/postgres/connect.js';
import { sinkUrl } from '../../../shared/postgres/database-url.js';
import { windowSettings } from '../../../shared/window-settings.js';
import { WeirFixture } from '../../support/weir-fixture.js';

/** Windows close, are revised, leave Redis and are corrected in Postgres within seconds. */
const SETTINGS = {
  ...{ WINDOW_SECONDS: '1', ALLOWED_LATENESS_SECONDS: '1', REVISION_DELAY_MS: '200' },
  ...{ WINDOW_HOT_HOURS: '0.001', WINDOW_DIMENSIONS_MAX: '3', ARCHIVE_DELAY_MS: '100' },
};
const RUN_MS = 9000;
const BATCH = 60;

describe('reconciler beside a fleet at work', function () {
  this.timeout(60_000);

  it('never sees drift, while events come in time, late, too late for Redis and twice, and workers change', async () => {
    const weir = await WeirFixture.start({ postgres: true, workers: 1, settings: SETTINGS });
    const pool = connectPostgres({
      ...{ url: sinkUrl(weir.environment['DATABASE_URL']!), name: 'test', poolMax: 2 },
      log: createLogger('test', 'silent'),
    });
    try {
      const first = await weir.worker();
      const until = Date.now() + RUN_MS;
      const found: unknown[] = [];
      const options = (config: typeof first.config): FullOptions => ({
        ...{ redis: weir.redis, keys: new Keys(weir.namespace), pool, times: windowSettings(config) },
        ...{
          sinceMs: 0,
          statementMsMax: 20_000,
          patienceMs: 1000,
          slackMs: 0,
          signal: new AbortController().signal,
        },
        onDifference: (difference) => found.push(difference),
      });
      const { config } = first;
      await Promise.all([
        post(weir, until),
        compare(until, () => reconcileAll(options(config))),
        (async () => {
          let state: RecentState = { verified: new Map(), suspects: [] };
          await compare(until, async () => {
            ({ state } = await reconcileRecent({ ...options(config), runMsMax: 2000 }, state));
          });
        })(),
        (async () => {
          await compare(until - (RUN_MS * 2) / 3, () => Promise.resolve());
          await first.close();
          await weir.worker();
        })(),
      ]);
      await weir.usage.drained();
      await weir.usage.archived();
      const { comparedWindows, pending } = await reconcileAll(options(config));
      expect(found).to.deep.equal([]);
      expect(pending).to.equal(0);
      expect(comparedWindows).to.be.greaterThan(50);
      const [counts] = (
        await pool.query<{ accepted: number; late: number; duplicate: number; corrected: number }>(
          `SELECT count(*) FILTER (WHERE status = 'accepted') AS accepted,
             count(*) FILTER (WHERE status = 'late') AS late,
             count(*) FILTER (WHERE status = 'duplicate') AS duplicate,
             (SELECT count(*) FROM aggregation_windows WHERE revision > 1) AS corrected
           FROM usage_events`,
        )
      ).rows;
      for (const [what, count] of Object.entries(counts!)) expect(count, what).to.be.greaterThan(0);
    } finally {
      await pool.end();
      await weir.close();
    }
  });
});

async function compare(until: number, run: () => Promise<unknown>): Promise<void> {
  while (Date.now() < until) {
    await run();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function post(weir: WeirFixture, until: number): Promise<void> {
  let sent = 0;
  await compare(until, async () => {
    const events = Array.from({ length: BATCH }, () => {
      sent += 1;
      const random = Math.random();
      // In time, late but hot, and gone from Redis.
      const ageMs = random < 0.8 ? 0 : random < 0.95 ? 2500 : 8000;
      return {
        eventId: Math.random() < 0.1 ? `e${Math.max(1, sent - 100)}` : `e${sent}`,
        timestamp: new Date(Date.now() - ageMs).toISOString(),
        tenantId: 'acme',
        customerId: `c${sent % 5}`,
        apiEndpoint: `/${sent % 6}`,
        metadata: { tokens: sent % 17, model: `m${sent % 4}`, latencyMs: sent % 9 },
      };
    });
    const { status } = await weir.http.post('/usage/batch', events, { 'x-tenant-id': 'acme' });
    expect(status).to.equal(202);
  });
}
