import { expect } from 'chai';
import fc from 'fast-check';
import { parseIsoTime } from '../../../api/usage/iso-time.js';

describe('parseIsoTime', () => {
  const times: readonly (readonly [text: string, utc: string])[] = [
    ['2026-11-20T21:30:00Z', '2026-11-20T21:30:00.000Z'],
    ['2026-11-20T21:30Z', '2026-11-20T21:30:00.000Z'],
    ['2026-11-20T21:30+02:00', '2026-11-20T19:30:00.000Z'],
    ['2026-11-20T21:30:00.5-05:30', '2026-11-21T03:00:00.500Z'],
    ['2026-11-20T21:30:00.05Z', '2026-11-20T21:30:00.050Z'],
    ['2026-11-20T21:30:59.999999999Z', '2026-11-20T21:30:59.999Z'],
    ['2026-11-20T21:30:00-00:00', '2026-11-20T21:30:00.000Z'],
    ['2024-02-29T23:59:59Z', '2024-02-29T23:59:59.000Z'],
    ['2000-02-29T00:00:00Z', '2000-02-29T00:00:00.000Z'],
    ['2026-01-01T00:00:00+23:59', '2025-12-31T00:01:00.000Z'],
    ['0100-01-01T00:00:00Z', '0100-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
  ];
  for (const [text, utc] of times) {
    it(`reads ${text}`, () => {
      expect(new Date(parseIsoTime(text)).toISOString()).to.equal(utc);
    });
  }

  const none = [
    ...['', '2026', '2026-11-20', '2026-11-20T21:30:00', '2026-11-20T21:30:00.5', '1800000000000'],
    ...['2026-11-20 21:30:00Z', '2026-11-20t21:30:00z', '20261120T213000Z', '2026-11-20T21Z'],
    ...['2026-02-29T00:00:00Z', '1900-02-29T00:00:00Z', '2026-04-31T00:00:00Z', '2026-00-01T00:00:00Z'],
    ...['2026-13-01T00:00:00Z', '2026-01-00T00:00:00Z', '2026-01-32T00:00:00Z', '2026-01-01T24:00:00Z'],
    ...['2026-01-01T00:60:00Z', '2026-01-01T00:00:60Z', '2026-01-01T00:00:00.Z', '2026-01-01T00:00:0Z'],
    ...['2026-01-01T00:00:00+24:00', '2026-01-01T00:00:00+01:60', '2026-01-01T00:00:00+0100'],
    ...['2026-01-01T00:00:00+01', '2026-01-01T00:00:00Z ', ' 2026-01-01T00:00:00Z', '2026-01-01T00:00:00ZZ'],
    ...[
      '+02026-01-01T00:00:00Z',
      '-0001-01-01T00:00:00Z',
      '0099-01-01T00:00:00Z',
      '2026-01-01T00:00:00+01:00x',
    ],
    ...['２026-01-01T00:00:00Z', '2026-01-01T00:00:00,5Z', '2026/01/01T00:00:00Z', '2026-01-01T00.00.00Z'],
  ];
  for (const text of none) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(parseIsoTime(text)).to.be.NaN;
    });
  }

  const day = fc.date({ min: new Date('0100-01-02'), max: new Date('9999-12-30'), noInvalidDate: true });
  const fraction = fc.stringMatching(/^(|\.[0-9]{1,9})$/);
  const zone = fc.stringMatching(/^(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$/);

  it('agrees with Date.parse on every time that both know', () => {
    fc.assert(
      fc.property(day, fraction, zone, (date, digits, suffix) => {
        const text = `${date.toISOString().slice(0, 19)}${digits}${suffix}`;
        expect(parseIsoTime(text)).to.equal(Date.parse(text));
      }),
      { numRuns: 2000 },
    );
  });

  it('reads no text that Date.parse refuses or understands differently, and never throws', () => {
    const nearly = fc.stringMatching(/^[0-9]{4}-[0-3][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9](:[0-6][0-9])?Z$/);
    fc.assert(
      fc.property(fc.oneof(nearly, fc.string()), (text) => {
        const time = parseIsoTime(text);
        if (!Number.isNaN(time)) expect(time).to.equal(Date.parse(text));
      }),
      { numRuns: 3000 },
    );
  });
});
