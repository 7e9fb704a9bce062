import { expect } from 'chai';
import fc from 'fast-check';
import { Refusal } from '../../../api/refusal.js';
import { csvRow, nameCell } from '../../../api/usage/queries/csv.js';
import { currentView } from '../../../api/usage/queries/current-view.js';
import { decodeCursor, encodeCursor } from '../../../api/usage/queries/cursor.js';
import { requiredRange, strictQuery } from '../../../api/usage/queries/query-parameters.js';
import { averageMs, dimensionView, percentiles } from '../../../api/usage/queries/usage-figures.js';
import { addLatency, quantile } from '../../../rules/latency-sketch.js';
import type { LatencySketch } from '../../../shared/state/latency-sketch.js';

const refusalOf = (work: () => unknown): Refusal => {
  try {
    work();
  } catch (error) {
    expect(error).to.be.instanceOf(Refusal);
    return error as Refusal;
  }
  throw new Error('nothing was refused');
};

describe('the cursor of a list of windows', () => {
  const list = { tenant: 't', customer: 'c', from: 1000, to: 900_000 };

  it('carries the start of the last window shown, and looks like nothing', () => {
    const cursor = encodeCursor(list, 30_000);
    expect(cursor).to.match(/^[A-Za-z0-9_-]+$/);
    expect(decodeCursor(list, cursor)).to.equal(30_000);
  });

  for (const [what, other] of [
    ['tenant', { tenant: 't2' }],
    ['customer', { customer: 'd' }],
    ['from', { from: 1001 }],
    ['to', { to: 899_999 }],
  ] as const) {
    it(`means nothing in a list with another ${what}`, () => {
      const refusal = refusalOf(() => decodeCursor({ ...list, ...other }, encodeCursor(list, 30_000)));
      expect(refusal.code).to.equal('invalid_request');
      expect(refusal.extras.errors![0]!.path).to.equal('cursor');
    });
  }

  it('tells tenants and customers apart whose names run into each other', () => {
    const cursor = encodeCursor({ ...list, tenant: 'a', customer: 'bc' }, 30_000);
    refusalOf(() => decodeCursor({ ...list, tenant: 'ab', customer: 'c' }, cursor));
  });

  it('is refused where it was not made here, or points outside of the range', () => {
    for (const text of ['', 'x', '!!', 'MzAwMDA', encodeCursor(list, 999), encodeCursor(list, 900_000)]) {
      refusalOf(() => decodeCursor(list, text));
    }
  });

  it('survives any text without throwing anything but a refusal', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        refusalOf(() => decodeCursor(list, text));
      }),
    );
  });
});

describe('the range of a query', () => {
  const range = (from: string, to: string) =>
    requiredRange(
      new Map([
        ['from', from],
        ['to', to],
      ]),
    );
  const hour = '2026-11-20T10:00:00Z';

  it('takes ISO 8601 with Z or an offset', () => {
    expect(range(hour, '2026-11-20T12:00:00+01:00')).to.deep.equal({
      from: Date.UTC(2026, 10, 20, 10),
      to: Date.UTC(2026, 10, 20, 11),
    });
  });

  it('rounds a time between two milliseconds up, for windows start at whole ones', () => {
    expect(range('2026-11-20T10:00:00.0001Z', '2026-11-20T10:00:00.5000Z')).to.deep.equal({
      from: Date.UTC(2026, 10, 20, 10) + 1,
      to: Date.UTC(2026, 10, 20, 10) + 500,
    });
  });

  it('hints at a + that a URL has made a space', () => {
    expect(refusalOf(() => range('2026-11-20T10:00:00 01:00', hour)).detail).to.contain('%2B');
  });

  for (const text of ['2026-11-20', '2026-11-20T10:00:00', '1', '', 'now', '2026-02-30T10:00:00Z']) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(refusalOf(() => range(text, hour)).extras.errors![0]!.path).to.equal('from');
      expect(refusalOf(() => range(hour, text)).extras.errors![0]!.path).to.equal('to');
    });
  }

  it('refuses an empty range, a reversed one, and one of more than 366 days', () => {
    expect(refusalOf(() => range(hour, hour)).code).to.equal('invalid_request');
    expect(refusalOf(() => range(hour, '2026-11-20T09:00:00Z')).code).to.equal('invalid_request');
    expect(refusalOf(() => range(hour, '2027-11-21T10:00:00.001Z')).code).to.equal('range_too_large');
    expect(range(hour, '2027-11-21T10:00:00Z').to).to.equal(Date.UTC(2027, 10, 21, 10));
  });

  it('refuses a parameter that is not known', () => {
    expect(strictQuery('/x?a=1', ['a']).get('a')).to.equal('1');
    expect(refusalOf(() => strictQuery('/x?a=1&b=1', ['a'])).detail).to.equal(
      'query holds a parameter that is not known; known are a.',
    );
    expect(refusalOf(() => strictQuery('/x?__proto__=1', ['a'])).code).to.equal('invalid_request');
  });
});

describe('figures of usage', () => {
  it('averages from sum and count, in ms with three decimals', () => {
    const of = (latencyCount: number, latencySumUs: number) =>
      averageMs({ latencyCount, latencySumUs, latency: new Map() });
    expect(of(0, 0)).to.equal(0);
    expect(of(3, 1000)).to.equal(0.333);
    expect(of(3, 2000)).to.equal(0.667);
    expect(of(1, 86_400_000_000)).to.equal(86_400_000);
  });

  it('has percentiles within 1 %, and none where no latency was told', () => {
    const latency: LatencySketch = new Map();
    expect(percentiles(latency)).to.deep.equal({ p50Ms: null, p95Ms: null, p99Ms: null });
    for (let ms = 1; ms <= 1000; ms++) addLatency(latency, ms * 1000);
    const { p50Ms, p95Ms, p99Ms } = percentiles(latency);
    expect(p50Ms).to.be.closeTo(500, 5);
    expect(p95Ms).to.be.closeTo(950, 9.5);
    expect(p99Ms).to.be.closeTo(990, 9.9);
    for (const value of [p50Ms, p95Ms, p99Ms]) expect(String(value)).to.match(/^\d+(\.\d{1,3})?$/);
  });

  it('asks for several percentiles at once what it would ask for one by one', () => {
    const counts = fc.array(fc.tuple(fc.integer({ min: -1, max: 1260 }), fc.integer({ min: 1, max: 50 })));
    fc.assert(
      fc.property(counts, (entries) => {
        const latency: LatencySketch = new Map(entries);
        const [p50, p95, p99] = [0.5, 0.95, 0.99].map((share) => {
          const ms = quantile(latency, share);
          return ms === undefined ? null : Math.round(ms * 1000) / 1000;
        });
        expect(percentiles(latency)).to.deep.equal({ p50Ms: p50, p95Ms: p95, p99Ms: p99 });
      }),
    );
  });

  it('keeps __proto__ and its like as names', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '/v1'];
    const view = dimensionView(new Map(names.map((name, i) => [name, { calls: i, tokens: 10 * i }])));
    expect(Object.keys(view)).to.deep.equal(names);
    expect(JSON.stringify(view)).to.contain('"__proto__":{"calls":0,"tokens":0}');
    expect(({} as Record<string, unknown>)['calls']).to.equal(undefined);
  });

  it('shows the minute, hour and day that hold the moment, with zeros where nothing is', () => {
    const now = Date.UTC(2026, 10, 20, 10, 31, 42, 7);
    const zero = { calls: 0, tokens: 0, inputTokens: 0, outputTokens: 0, byEndpoint: {}, byModel: {} };
    expect(currentView(undefined, now)).to.deep.equal({
      minute: { start: '2026-11-20T10:31:00.000Z', end: '2026-11-20T10:32:00.000Z', ...zero },
      hour: { start: '2026-11-20T10:00:00.000Z', end: '2026-11-20T11:00:00.000Z', ...zero },
      day: { start: '2026-11-20T00:00:00.000Z', end: '2026-11-21T00:00:00.000Z', ...zero },
    });
  });
});

describe('CSV', () => {
  it('quotes what needs it, ends rows with CRLF, leaves null empty', () => {
    expect(csvRow(['a', 1, true, null, 'b,c', 'say "hi"', 'x\ny', ''])).to.equal(
      'a,1,true,,"b,c","say ""hi""","x\ny",\r\n',
    );
  });

  it('reads back as what was written, whatever the names', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1 }), (cells) => {
        expect(readCsvRow(csvRow(cells))).to.deep.equal(cells);
      }),
    );
  });

  it('takes the fuse out of names that a spreadsheet would run, and only of those', () => {
    for (const name of ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', "'=1"]) {
      expect(nameCell(name)).to.equal(`'${name}`);
    }
    for (const name of ['/v1/chat', 'gpt-4', '', ' =1', 'a=b']) expect(nameCell(name)).to.equal(name);
  });

  it('lets no two names become one', () => {
    const names = fc.string({ unit: fc.constantFrom('=', '+', "'", 'a') });
    fc.assert(
      fc.property(names, names, (a, b) => {
        expect(nameCell(a) === nameCell(b)).to.equal(a === b);
      }),
    );
  });
});

/** An independent reader of RFC 4180, for one row. */
function readCsvRow(text: string): string[] {
  const cells: string[] = [];
  let cell = '';
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[i + 1] === '"') {
        cell += '"';
        i++;
      } else quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === ',' || (character === '\r' && i === text.length - 2)) {
      cells.push(cell);
      cell = '';
      if (character === '\r') break;
    } else cell += character;
  }
  return cells;
}
