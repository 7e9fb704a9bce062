import { expect } from 'chai';
import {
  decodeCounters,
  decodeMetering,
  decodeWindow,
  encodeCounters,
  encodeMetering,
  encodeWindow,
} from '../../shared/state/metering-codec.js';
import type { CountersState, Slot, Totals, WindowState } from '../../shared/state/metering-state.js';
import { NewerDocumentError } from '../../shared/state/state-codec.js';

const names = ['__proto__', 'constructor', '', 'a"b\\', '\ud83d\ude00', '__other__'];
const dimension = (): Totals['byEndpoint'] =>
  new Map(names.map((name, i) => [name, { calls: i + 1, tokens: i * 1000 }]));
const totals = (): Totals => ({
  calls: 21,
  tokens: Number.MAX_SAFE_INTEGER,
  inputTokens: 2,
  outputTokens: 3,
  byEndpoint: dimension(),
  byModel: dimension(),
});
const nothing = (): Totals => ({
  calls: 0,
  tokens: 0,
  inputTokens: 0,
  outputTokens: 0,
  byEndpoint: new Map(),
  byModel: new Map(),
});
/** JSON of the names, and 40 for each entry's figures. */
const nameBytes = names.reduce((sum, name) => sum + Buffer.byteLength(JSON.stringify(name)) + 40, 0);

const window: WindowState = {
  owner: undefined,
  start: 1_700_000_010_000,
  ...totals(),
  nameBytes: 2 * nameBytes,
  latencyCount: 3,
  latencySumUs: 60_000,
  latency: new Map([
    [500, 2],
    [-1, 1],
  ]),
  status: 'revised',
  revision: 4,
  settling: true,
  late: 5,
  emission: 6,
  asOfEntry: '1700000010000-0',
  asOfIndex: 7,
};

const fresh: WindowState = {
  owner: undefined,
  start: 30_000,
  ...nothing(),
  nameBytes: 0,
  latencyCount: 0,
  latencySumUs: 0,
  latency: new Map(),
  status: 'open',
  revision: 0,
  settling: false,
  late: 0,
  emission: 0,
  asOfEntry: '',
  asOfIndex: 0,
};

const slots = (...starts: number[]): Map<number, Slot> =>
  new Map(starts.map((start) => [start, { start, owner: undefined, ...totals() }]));
const counters: CountersState = {
  owner: undefined,
  nameBytes: 12 * nameBytes,
  staleAfter: 0,
  minutes: slots(60_000, 0, 120_000),
  hours: slots(3_600_000, 0),
  days: slots(0),
};

describe('metering-codec', () => {
  it('reads back what it wrote', () => {
    expect(decodeWindow(encodeWindow(window))).to.deep.equal(window);
    expect(decodeWindow(encodeWindow(fresh))).to.deep.equal(fresh);
    expect(decodeCounters(encodeCounters(counters))).to.deep.equal(counters);
    const metering = { owner: undefined, bornAt: 1, coldUntil: 2, emissions: 3, archived: 4 };
    expect(decodeMetering(encodeMetering(metering))).to.deep.equal(metering);
  });

  it('keeps the order of names and slots, in which they came', () => {
    expect([...decodeWindow(encodeWindow(window)).byEndpoint.keys()]).to.deep.equal(names);
    expect([...decodeCounters(encodeCounters(counters)).minutes.keys()]).to.deep.equal([60_000, 0, 120_000]);
  });

  it('leaves out what is as at the beginning, and whose step it was', () => {
    expect(encodeWindow({ ...fresh, owner: {} })).to.equal('{"v":1,"start":30000}');
    const none = { ...counters, minutes: new Map(), hours: new Map(), days: new Map() };
    expect(encodeCounters(none)).to.equal('{"v":1}');
    const metering = { owner: {}, bornAt: 0, coldUntil: 0, emissions: 9, archived: 0 };
    expect(encodeMetering(metering)).to.equal('{"v":1,"emissions":9}');
    const slot = {
      start: 60_000,
      owner: {},
      ...nothing(),
      calls: 1,
      byModel: new Map([['m', { calls: 1, tokens: 0 }]]),
    };
    expect(encodeCounters({ ...none, minutes: new Map([[60_000, slot]]) })).to.equal(
      '{"v":1,"minutes":[{"start":60000,"calls":1,"models":[["m",1,0]]}]}',
    );
  });

  it('refuses what a newer version wrote', () => {
    for (const decode of [decodeWindow, decodeCounters, decodeMetering]) {
      expect(() => decode('{"v":2}')).to.throw(NewerDocumentError);
      expect(() => decode('{}')).to.throw(NewerDocumentError);
    }
  });
});
