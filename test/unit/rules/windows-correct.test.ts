import { expect } from 'chai';
import { correct } from '../../../rules/windows/correct.js';
import { NAME_BYTES_MAX } from '../../../rules/windows/totals.js';
import { OTHER } from '../../../shared/messages/usage.js';
import { usage } from './usage-events.js';

const NOON = Date.UTC(2026, 10, 20, 12);
const settings = { windowMs: 30_000, dimensionsMax: 2 };
const at = (entry: string, index = 0) => ({ entry, index });

describe('correct', () => {
  it('makes revision 2 of a window that the archive does not have', () => {
    const event = usage({ timestamp: NOON + 5, latencyMs: 1000 });
    expect(correct(null, [{ event, place: at('5-0', 3) }], settings)).to.deep.equal({
      tenant: 'acme',
      customer: 'c1',
      start: NOON,
      end: NOON + 30_000,
      status: 'revised',
      revision: 2,
      asOf: ['5-0', 3],
      calls: 1,
      tokens: 10,
      inputTokens: 4,
      outputTokens: 6,
      latencyCount: 1,
      latencySumUs: 1_000_000,
      late: 1,
      endpoints: [['/api/completion', 1, 10]],
      models: [['gpt-4', 1, 10]],
      latency: [691, 1],
    });
  });

  it('adds all events to the stored window as one revision more, names within their bound', () => {
    const stored = correct(null, [{ event: usage({ timestamp: NOON }), place: at('1-0') }], settings);
    const before = structuredClone(stored);
    const events = ['__proto__', 'x', '/api/completion'].map((endpoint, i) => ({
      event: usage({ timestamp: NOON + i, endpoint, model: null, latencyMs: null, tokens: 1 }),
      place: at('2-0', i),
    }));
    const corrected = correct(stored, events, settings);
    expect(stored).to.deep.equal(before);
    expect(corrected).to.deep.equal({
      ...stored,
      revision: 3,
      asOf: ['2-0', 2],
      calls: 4,
      tokens: 13,
      inputTokens: 16,
      outputTokens: 24,
      late: 4,
      endpoints: [
        ['/api/completion', 2, 11],
        ['__proto__', 1, 1],
        [OTHER, 1, 1],
      ],
    });
  });

  it('lets no stored window outgrow what a document may weigh', () => {
    const event = usage({ timestamp: NOON });
    const stored = correct(null, [{ event, place: at('1-0') }], settings);
    const heavy = { ...stored, endpoints: [['x'.repeat(NAME_BYTES_MAX - 100), 1, 10] as const] };
    const [, other] = correct(heavy, [{ event, place: at('2-0') }], settings).endpoints;
    expect(other).to.deep.equal([OTHER, 1, 10]);
  });

  it('refuses what does not belong together', () => {
    const event = usage({ timestamp: NOON });
    const stored = correct(null, [{ event, place: at('1-0') }], settings);
    const wrong = 'the events are not all of the window that they correct';
    expect(() => correct(null, [], settings)).to.throw('no events');
    for (const other of [{ timestamp: NOON + 30_000 }, { timestamp: NOON, customer: 'c2' }]) {
      const events = [{ event: usage(other), place: at('2-0') }];
      expect(() => correct(stored, events, settings)).to.throw(wrong);
      expect(() => correct(null, [{ event, place: at('1-0') }, ...events], settings)).to.throw(wrong);
    }
    expect(() => correct({ ...stored, tenant: 'other' }, [{ event, place: at('2-0') }], settings)).to.throw(
      wrong,
    );
  });

  it('refuses a sum that would not be exact', () => {
    const event = usage({ timestamp: NOON });
    const stored = correct(null, [{ event, place: at('1-0') }], settings);
    const full = { ...stored, tokens: Number.MAX_SAFE_INTEGER };
    expect(() => correct(full, [{ event, place: at('2-0') }], settings)).to.throw('no longer be exact');
  });
});
