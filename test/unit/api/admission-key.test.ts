import { expect } from 'chai';
import fc from 'fast-check';
import { admissionId, requestKey, undecidedId } from '../../../api/admissions/admission-key.js';
import { canonicalJson } from '../../../api/admissions/canonical-json.js';
import { Refusal } from '../../../api/refusal.js';
import { ADMISSION_ID, ADMIT, admissionKey, EVALUATE } from '../../../shared/messages/admissions.js';
import { isYoung } from '../../../shared/messages/given-minute.js';

const NOON = Date.UTC(2026, 10, 20, 12);

interface Keyed {
  readonly request_id?: string;
  readonly payload?: unknown;
}

const ask = (more: Keyed = {}, estimated_tokens = 100): Keyed => {
  const asked = { pipeline: 'ranking', priority: 'P1', estimated_tokens };
  return { ...asked, ...more };
};

const exactJson = fc.anything({
  values: [
    ...[fc.constant(null), fc.boolean(), fc.string(), fc.maxSafeInteger()],
    fc.double({ min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER, noNaN: true }),
  ],
  maxDepth: 4,
});

describe('api: canonical JSON', () => {
  it('is the same for the same value, whatever the order of its names', () => {
    const one = JSON.parse('{"b":[1,{"y":null,"x":"é"}],"a":true}');
    const other = JSON.parse('{ "a": true, "b": [1, {"x": "\\u00e9", "y": null}] }');
    expect(canonicalJson(one)).to.equal('{"a":true,"b":[1,{"x":"é","y":null}]}');
    expect(canonicalJson(other)).to.equal(canonicalJson(one));
  });

  it('is JSON of an equal value', () => {
    fc.assert(
      fc.property(exactJson, (value) => {
        const plain: unknown = JSON.parse(JSON.stringify(value));
        expect(JSON.parse(canonicalJson(plain))).to.deep.equal(plain);
      }),
    );
  });

  it('tells apart what differs', () => {
    const texts = ['null', '"null"', '[]', '{}', '[[]]', '[null]', '""', '"\\ud800"', '"\\ufffd"', '0'];
    texts.push(
      '{"a":1,"b":2}',
      '{"a":"1,\\"b\\":2"}',
      '{"__proto__":1}',
      '{"constructor":1}',
      '[1,2]',
      '["1,2"]',
    );
    const seen = new Set(texts.map((text) => canonicalJson(JSON.parse(text))));
    expect(seen.size).to.equal(texts.length);
  });

  describe('refuses a number that another one may have been', () => {
    const defectOf = (text: string): unknown => {
      try {
        return canonicalJson(JSON.parse(text));
      } catch (error) {
        return error instanceof Refusal ? [error.code, error.extras.errors] : error;
      }
    };
    const message = 'must be sent as a string: a number beyond ±9007199254740991 is not exact';
    for (const [text, path] of [
      ['{"payload":{"message_id":1234567890123456781}}', 'payload.message_id'],
      ['{"payload":[0,{"a":[1,-9007199254740993]}]}', 'payload.1.a.1'],
      ['{"payload":9007199254740992}', 'payload'],
      ['{"payload":1e400}', 'payload'],
      ['{"payload":{"a":[],"b":{},"c":-1e400}}', 'payload.c'],
      [`{"payload":${'['.repeat(500_000)}1e20${']'.repeat(500_000)}}`, `payload${'.0'.repeat(15)}.…`],
    ] as const) {
      it(`${text.slice(0, 50)}`, () => {
        expect(defectOf(text)).to.deep.equal(['invalid_request', [{ path, message }]]);
      });
    }

    it('and takes the largest that are exact', () => {
      for (const text of ['9007199254740991', '-9007199254740991', '[0.1,"1e400"]']) {
        expect(defectOf(text)).to.equal(text);
      }
    });
  });

  it('takes any depth that a body can have', () => {
    const depth = 500_000;
    const text = '['.repeat(depth) + ']'.repeat(depth);
    expect(canonicalJson(JSON.parse(text)) === text).to.equal(true);
  });
});

describe('api: what makes two requests the same', () => {
  it('is the request id, where there is one; another body changes only the hash of the body', () => {
    const one = requestKey(ADMIT, ask({ request_id: 'r' }));
    const other = requestKey(ADMIT, ask({ request_id: 'r' }, 101));
    expect([one.keyed, one.key, one.body.length]).to.deep.equal([true, other.key, 16]);
    expect(other.body).not.to.equal(one.body);
    const reordered = Object.fromEntries(Object.entries(ask({ request_id: 'r' })).reverse()) as Keyed;
    expect(requestKey(ADMIT, reordered)).to.deep.equal(one);
    expect(requestKey(ADMIT, ask({ request_id: 's' })).key).not.to.equal(one.key);
  });

  it('is the whole body, where there is a payload and no request id', () => {
    const one = requestKey(ADMIT, ask({ payload: { a: 1, b: [2] } }));
    expect(one.keyed).to.equal(true);
    expect(requestKey(ADMIT, ask({ payload: { b: [2], a: 1 } }))).to.deep.equal(one);
    for (const other of [
      ask({ payload: { a: 1, b: [3] } }),
      ask({ payload: null }),
      ask({ payload: { a: 1, b: [2] } }, 101),
    ]) {
      expect(requestKey(ADMIT, other).key).not.to.equal(one.key);
    }
  });

  it('counts a payload that is null as one', () => {
    expect(requestKey(ADMIT, ask({ payload: null })).keyed).to.equal(true);
  });

  it('is nothing without both: every request is another one', () => {
    const [one, other] = [requestKey(ADMIT, ask()), requestKey(ADMIT, ask())];
    expect([one.keyed, one.body, one.key.length]).to.deep.equal([false, '', 16]);
    expect(one.key).not.to.equal(other.key);
  });

  it('is not shared between the ways and the types of request', () => {
    const keys = new Set([
      requestKey(ADMIT, { request_id: 'r' }).key,
      requestKey(EVALUATE, { request_id: 'r' }).key,
      requestKey(ADMIT, { payload: 'r' }).key,
      requestKey(EVALUATE, { payload: 'r' }).key,
    ]);
    expect(keys.size).to.equal(4);
  });

  it('is the first part of an id of its admission', () => {
    const { key } = requestKey(ADMIT, ask({ request_id: 'r' }));
    for (const [make, origin] of [
      [() => admissionId(key), 'a'],
      [() => undecidedId(key, NOON), 'o'],
    ] as const) {
      const id = make();
      expect(ADMISSION_ID.test(id)).to.equal(true);
      expect([admissionKey(id), id[16]]).to.deep.equal([key, origin]);
      expect(make()).not.to.equal(id);
    }
  });
});

describe('api: the id of an admission that is given undecided', () => {
  const HOUR_MS = 3_600_000;
  const YEAR_MS = 365.25 * 24 * HOUR_MS;
  const { key } = requestKey(ADMIT, ask({ request_id: 'r' }));

  it('is young for as long as is asked, and three minutes at most beyond it', () => {
    for (const at of [NOON, NOON + 59_999, 0, 64 ** 4 * 60_000 - 1, NOON + 31 * YEAR_MS]) {
      const id = undecidedId(key, at);
      for (const age of [0, 1, HOUR_MS]) expect(isYoung(id, at + age, HOUR_MS), `${age}`).to.equal(true);
      for (const age of [HOUR_MS + 180_000, 24 * HOUR_MS, 15 * YEAR_MS])
        expect(isYoung(id, at + age, HOUR_MS), `${age}`).to.equal(false);
    }
  });

  it('is young where the clock that made it is ahead, by a day at most', () => {
    for (const [ahead, young] of [
      [1, true],
      [24 * HOUR_MS, true],
      [24 * HOUR_MS + 60_000, false],
      [10 * YEAR_MS, false],
    ] as const) {
      expect(isYoung(undecidedId(key, NOON + ahead), NOON, HOUR_MS), `${ahead}`).to.equal(young);
    }
  });

  it('is no id that a worker gives', () => {
    for (let i = 0; i < 100; i++) expect(isYoung(admissionId(key), NOON, HOUR_MS)).to.equal(false);
  });
});
