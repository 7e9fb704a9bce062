import { expect } from 'chai';
import { canonicalJson } from '../../api/admissions/canonical-json.js';
import { parseQuery } from '../../api/http/query.js';
import { batchItems } from '../../api/ingest/batch-items.js';
import { parseIsoTime } from '../../api/usage/iso-time.js';
import { growsLinearly } from '../support/growth.js';

describe('what input costs', () => {
  const functions: readonly (readonly [what: string, size: number, run: (size: number) => unknown])[] = [
    [
      'the canonical JSON of a long array',
      20_000,
      (size) => canonicalJson(Array.from({ length: size }, (_, n) => n)),
    ],
    [
      'the canonical JSON of an object with many names',
      10_000,
      (size) => canonicalJson(Object.fromEntries(Array.from({ length: size }, (_, n) => [`x${n}`, n]))),
    ],
    ['the canonical JSON of a long text', 50_000, (size) => canonicalJson('"'.repeat(size))],
    [
      'a query of many parameters without values',
      20_000,
      (size) => parseQuery(`/x?${Array.from({ length: size }, (_, n) => `a${n}`).join('&')}`),
    ],
    ['a query of many ampersands', 100_000, (size) => parseQuery(`/x?${'&'.repeat(size)}`)],
    ['a query of many plus signs', 100_000, (size) => parseQuery(`/x?a=${'+'.repeat(size)}`)],
    ['a query of many escapes', 50_000, (size) => parseQuery(`/x?a=${'%41'.repeat(size)}`)],
    ['a time with many digits', 100_000, (size) => parseIsoTime(`2026-01-01T00:00:00.${'1'.repeat(size)}Z`)],
    ['many blank lines', 100_000, (size) => batchItems('ndjson', `${'\n'.repeat(size)}1`)],
    ['lines of white space', 100_000, (size) => batchItems('ndjson', `${' '.repeat(size)}\n1`)],
  ];
  for (const [what, size, run] of functions) {
    it(`grows with the length of ${what} and not with its square`, async () => {
      expect(await growsLinearly(size, run)).to.equal(true);
    });
  }

  it('would notice a pattern that grows with the square', async () => {
    const quadratic = /^\s*([^\s;]+)\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?;?\s*$/i;
    expect(await growsLinearly(4000, (size) => quadratic.test(`a${' '.repeat(size)}b`))).to.equal(false);
  });
});
