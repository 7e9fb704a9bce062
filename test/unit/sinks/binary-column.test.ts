import { expect } from 'chai';
import { BinaryColumn } from '../../../consumer/sinks/postgres/binary-column.js';

/** Dimensions, has NULL, type, length, index of the first. */
function header(oid: number, length: number, hasNull = 0): number[] {
  return [0, 0, 0, 1, 0, 0, 0, hasNull, 0, 0, oid >> 8, oid & 255, 0, 0, 0, length, 0, 0, 0, 1];
}

describe('a column in the binary format of Postgres', () => {
  it('goes with its type, its length, and the length of every value', () => {
    const column = new BinaryColumn('smallint', 2);
    column.smallint(-2);
    column.null();
    column.smallint(513);
    expect([...column.finish()]).to.deep.equal([
      ...header(21, 3, 1),
      ...[0, 0, 0, 2, 255, 254],
      ...[255, 255, 255, 255],
      ...[0, 0, 0, 2, 2, 1],
    ]);
  });

  it('has integers of eight bytes, exact as far as numbers are', () => {
    for (const value of [
      0,
      1,
      -1,
      2 ** 32,
      -(2 ** 32) - 1,
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
    ]) {
      const column = new BinaryColumn('bigint', 1);
      column.bigint(value);
      expect(column.finish().readBigInt64BE(24), String(value)).to.equal(BigInt(value));
    }
  });

  it('has times in microseconds since the year 2000, exact to the last that a Date knows', () => {
    for (const ms of [
      0,
      Date.UTC(2000, 0, 1),
      Date.UTC(2026, 0, 15) + 1,
      Date.UTC(9999, 0, 1) + 7,
      8.64e15,
    ]) {
      const column = new BinaryColumn('timestamptz', 1);
      column.timestamptz(ms);
      const expected = (BigInt(ms) - BigInt(Date.UTC(2000, 0, 1))) * 1000n;
      expect(column.finish().readBigInt64BE(24), String(ms)).to.equal(expected);
    }
  });

  it('grows with its values', () => {
    const texts = ['', 'é€𝄞', 'x'.repeat(100), 'y'.repeat(10_000), 'z'];
    const column = new BinaryColumn('text', 1, 1);
    for (const text of texts) column.text(text);
    const bytes = column.finish();
    const read: string[] = [];
    for (let at = 20; at < bytes.length; ) {
      const length = bytes.readInt32BE(at);
      read.push(bytes.toString('utf8', at + 4, at + 4 + length));
      at += 4 + length;
    }
    expect(read).to.deep.equal(texts);
  });

  it('can be used again', () => {
    const column = new BinaryColumn('jsonb', 1);
    column.null();
    column.jsonb('{"a":"a longer one than is expected"}');
    column.finish();
    column.clear();
    column.jsonb('{}');
    expect([...column.finish()]).to.deep.equal([...header(3802, 1), ...[0, 0, 0, 3, 1, 123, 125]]);
  });

  it('does not take a number that its type has not', () => {
    const refused = { code: 'ERR_OUT_OF_RANGE' };
    const thrown = (put: () => void): unknown => {
      try {
        put();
      } catch (error) {
        return error;
      }
      return undefined;
    };
    expect(thrown(() => new BinaryColumn('smallint', 1).smallint(2 ** 15))).to.include(refused);
    expect(thrown(() => new BinaryColumn('integer', 1).integer(2 ** 31))).to.include(refused);
  });
});
