import { expect } from 'chai';
import { parseMeteringTimer } from '../../../rules/windows/metering-timer.js';
import { usageEventOf } from '../../../rules/windows/usage-event.js';
import { countersDocument, windowDocument } from '../../../shared/keys.js';
import { usageMessage } from './usage-events.js';

describe('usageEventOf', () => {
  const good = usageMessage({ timestamp: 1_700_000_000_000 });
  const withData = (place: number, value: unknown) => ({
    ...good,
    data: (good.data as unknown[]).with(place, value),
  });

  it('is the message itself', () => {
    expect(usageEventOf(good)).to.equal(good);
    const extended = { ...good, data: [...(good.data as unknown[]), { region: 'eu' }] };
    expect(usageEventOf(extended)).to.equal(extended);
    expect(usageEventOf(withData(5, 86_400_000_000)).data[5]).to.equal(86_400_000_000);
    expect(usageEventOf(withData(1, 1_000_000_000)).data[1]).to.equal(1_000_000_000);
  });

  it('refuses what could not be counted', () => {
    const { tenant: _tenant, timestamp: _timestamp, ...bare } = good;
    const refused: [object, string][] = [
      [{ ...bare, timestamp: 1 }, 'no tenant'],
      [{ ...bare, tenant: 't' }, 'timestamp'],
      [{ ...good, subject: '' }, 'no customer'],
      [{ ...good, timestamp: -1 }, 'timestamp'],
      [{ ...good, timestamp: 1.5 }, 'timestamp'],
      [{ ...good, timestamp: 253_402_300_800_000 }, 'timestamp'],
      [{ ...good, data: null }, 'data'],
      [{ ...good, data: { 0: '/x' } }, 'data'],
      [{ ...good, data: [] }, 'endpoint'],
      [withData(0, 7), 'endpoint'],
      [withData(1, '10'), 'tokens'],
      [withData(1, 1_000_000_001), 'tokens'],
      [withData(1, -1), 'tokens'],
      [withData(2, 0.5), 'input tokens'],
      [withData(3, null), 'output tokens'],
      [withData(4, undefined), 'model'],
      [withData(4, 4), 'model'],
      [withData(5, '20'), 'latency'],
      [withData(5, 86_400_000_001), 'latency'],
      [withData(5, undefined), 'latency'],
      [{ ...good, data: [...(good.data as unknown[]), 'x'] }, 'metadata'],
      [{ ...good, data: [...(good.data as unknown[]), null] }, 'metadata'],
    ];
    for (const [message, reason] of refused) {
      expect(() => usageEventOf(message as typeof good), JSON.stringify(message)).to.throw(reason);
    }
  });
});

describe('parseMeteringTimer', () => {
  it('reads the names of the documents', () => {
    for (const customer of ['c1', 'a:b:1', '__proto__', ' ', '5:', 'line\nbreak']) {
      expect(parseMeteringTimer(windowDocument('t', 1_700_000_010_000, customer))).to.deep.equal({
        kind: 'window',
        tenant: 't',
        start: 1_700_000_010_000,
        customer,
      });
      expect(parseMeteringTimer(countersDocument('t', customer))).to.deep.equal({
        kind: 'counters',
        tenant: 't',
        customer,
      });
    }
  });

  it('refuses every other text', () => {
    for (const id of ['', 'window', 'window:t', 'window:t:x:c', 'window::1:c', 'counters:', 'expire:r:t:u']) {
      expect(() => parseMeteringTimer(id)).to.throw(`unknown timer ${id}`);
    }
  });
});
