import { expect } from 'chai';
import { Registry } from 'prom-client';
import { startMaintenance } from '../../../consumer/maintenance/start-maintenance.js';
import { ConsumerMetrics } from '../../../consumer/metrics.js';
import { Lifecycle } from '../../../shared/lifecycle.js';
import { loadConfig } from '../../../shared/load-config.js';
import { DistributedLock } from '../../../shared/lock/distributed-lock.js';
import { createLogger } from '../../../shared/logging.js';
import { ReconciliationMetrics } from '../../../shared/reconciliation/reconciliation-metrics.js';
import { until } from '../../support/redis-server.js';
import { ReconcileUnderTest } from '../reconcile/reconcile-under-test.js';

const log = createLogger('test-maintenance', 'silent');

describe('the tasks of a fleet', () => {
  it('reconciles, and tells every process what it found', async () => {
    const weir = await ReconcileUnderTest.start();
    try {
      await (await weir.count(0).idle(60_000).archive()).store();
      const config = loadConfig({ RECONCILE_INTERVAL_SECONDS: '1', EVENTS_RETENTION_DAYS: '3660' });
      const registry = new Registry();
      const lock = new DistributedLock({ redis: weir.redis, keys: weir.keys, owner: 'w' });
      const ready = Promise.resolve();
      const ending = new Lifecycle(log);
      const elsewhere = new Registry();
      new ReconciliationMetrics(elsewhere, weir.redis, weir.keys);
      const value = async (of: Registry, name: string): Promise<number> =>
        (await of.getSingleMetric(`weir_reconciliation_${name}`)!.get()).values[0]!.value;
      expect(await value(elsewhere, 'drift')).to.equal(0);
      expect(await value(elsewhere, 'last_run_timestamp_seconds')).to.equal(0);
      startMaintenance({
        ...{ redis: weir.redis, keys: weir.keys, lock, log, config, lifecycle: ending },
        metrics: new ConsumerMetrics(registry, [], []),
        database: { pool: weir.postgres.sinkPool(), ready },
      });
      try {
        await until(10_000, 'it has run', async () => (await value(registry, 'windows')) === 1);
        expect(await value(registry, 'drift')).to.equal(0);
        expect(await value(registry, 'lag_seconds')).to.equal(0);
        expect(await value(registry, 'left_out')).to.equal(0);
        await weir.postgres.query('UPDATE usage_events SET tokens = 11');
        await weir.count(70_000, { customer: 'c2' }).archive();
        await weir.store();
        await until(10_000, 'drift is shown', async () => (await value(elsewhere, 'drift')) === 1);
        await weir.postgres.query('UPDATE usage_events SET tokens = 10');
        await until(10_000, 'it is gone', async () => (await value(elsewhere, 'drift')) === 0);
        const lastRun = await value(elsewhere, 'last_run_timestamp_seconds');
        expect(Math.abs(lastRun - Date.now() / 1000)).to.be.lessThan(30);
        expect(await weir.redis.hkeys(weir.keys.maintenance)).to.have.members([
          ...[
            'partitions-ahead',
            'retention',
            'ledger-retention',
            'heal-budgets',
            'reconcile',
            'counted-again',
            'reconcile-budgets',
          ],
        ]);
      } finally {
        await ending.close();
      }
    } finally {
      await weir.close();
    }
  });
});
