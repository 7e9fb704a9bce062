import { expect } from 'chai';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { FailOpenReports } from '../../../api/admissions/fail-open-reports.js';
import { Slots } from '../../../api/slots.js';
import { StoreGate } from '../../../api/store-gate.js';
import { Appender } from '../../../shared/append/appender.js';
import { installationOf } from '../../../shared/installation.js';
import { Keys } from '../../../shared/keys.js';
import { loadConfig } from '../../../shared/load-config.js';

const log = pino({ level: 'silent' });
const keys = new Keys('reports');
const slot = new Slots(keys, 1).ofTenant('acme');
const message = { type: 'cancel', subject: 'acme', id: 'ab-1', data: { admission: 'a' } };

/** Of a store that is away: the connection is never opened. */
function reportsOf(reportsMax: number): FailOpenReports {
  const redis = new Redis({ lazyConnect: true });
  const installation = installationOf(loadConfig({}));
  const gate = new StoreGate({ redis, keys, installation, log, onMismatch: () => undefined });
  const appender = new Appender({ redis, bounds: { backlogMax: 0, archiveBytesMax: 0 } });
  return new FailOpenReports({ ...{ redis, gate, appender, log }, reportsMax, keptMs: 1000 });
}

describe('api: reports about undecided admissions while the store is away', () => {
  it('lets the caller of each go on at once, whenever it comes', async () => {
    // Not started: nothing is tried again by the clock.
    const reports = reportsOf(1000);
    for (let i = 0; i < 100; i++) await reports.add({ slot, message });
    expect(reports.unreported).to.equal(100);
  });

  it('takes one more at the same cost, however many wait', async function () {
    this.timeout(60_000);
    const reports = reportsOf(1_000_000);
    const many = Array.from({ length: 300_000 }, () => reports.add({ slot, message }));
    await Promise.all(many);
    // Looking at each that waits would take a minute.
    for (let i = 0; i < 1000; i++) await reports.add({ slot, message });
    expect([reports.unreported, reports.hasRoom]).to.deep.equal([301_000, true]);
  });
});
