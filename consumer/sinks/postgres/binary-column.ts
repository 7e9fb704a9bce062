/** https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat */
const OIDS = { smallint: 21, integer: 23, bigint: 20, text: 25, timestamptz: 1184, jsonb: 3802 } as const;
export type ColumnType = keyof typeof OIDS;

/** Dimensions (one), whether there are NULLs, type, length, index of the first. */
const HEADER_BYTES = 20;
const HAS_NULL_AT = 4;
const LENGTH_AT = 12;
const JSONB_VERSION = 1;
/** What Postgres counts its time from. */
const EPOCH_MS = Date.UTC(2000, 0, 1);
const HIGH = 2 ** 32;

/**
 * One column of many rows: the parameter of `unnest($1::bigint[])`, in the binary format of arrays. Every value goes
 * with its length, so there is nothing to escape, and Postgres parses nothing. Measured, CPU of Postgres per row of
 * usage_events: 8.1 µs; arrays as text 9.4 µs (the driver's own escaping takes 4 µs of ours besides). COPY takes
 * 6.5 µs, but is not possible into a table with row level security.
 *
 * Values must be what Postgres has for the type: the buffer does not take a number beyond it.
 */
export class BinaryColumn {
  private readonly oid: number;
  private block: Buffer;
  private end = HEADER_BYTES;
  private length = 0;
  private hasNull = 0;

  /** @param bytes of a value, about */
  constructor(type: ColumnType, rows: number, bytes = 8) {
    this.oid = OIDS[type];
    this.block = Buffer.allocUnsafe(HEADER_BYTES + rows * (4 + bytes));
  }

  /** Forgets all values; the memory that `finish` gave out is written anew. */
  clear(): void {
    this.end = HEADER_BYTES;
    this.length = 0;
    this.hasNull = 0;
  }

  null(): void {
    this.begin(-1, 0);
    this.hasNull = 1;
  }

  smallint(value: number): void {
    this.begin(2, 2);
    this.end = this.block.writeInt16BE(value, this.end);
  }

  integer(value: number): void {
    this.begin(4, 4);
    this.end = this.block.writeInt32BE(value, this.end);
  }

  /** @param value a safe integer */
  bigint(value: number): void {
    this.begin(8, 8);
    const high = Math.floor(value / HIGH);
    this.block.writeInt32BE(high, this.end);
    this.end = this.block.writeUInt32BE(value - high * HIGH, this.end + 4);
  }

  /** @param ms since the epoch, as a Date may have them */
  timestamptz(ms: number): void {
    const micros = (ms - EPOCH_MS) * 1000;
    if (Number.isSafeInteger(micros)) {
      this.bigint(micros);
      return;
    }
    this.begin(8, 8);
    this.end = this.block.writeBigInt64BE(BigInt(ms - EPOCH_MS) * 1000n, this.end);
  }

  text(value: string): void {
    // No character of UTF-16 has more than three bytes in UTF-8.
    const at = this.begin(0, value.length * 3);
    const bytes = this.block.write(value, this.end);
    this.block.writeInt32BE(bytes, at);
    this.end += bytes;
  }

  /** @param json as `JSON.stringify` makes it */
  jsonb(json: string): void {
    const at = this.begin(0, 1 + json.length * 3);
    this.block[this.end] = JSONB_VERSION;
    const bytes = 1 + this.block.write(json, this.end + 1);
    this.block.writeInt32BE(bytes, at);
    this.end += bytes;
  }

  /** The whole array. Nothing may be added after. */
  finish(): Buffer {
    const { block } = this;
    block.writeInt32BE(1, 0);
    block.writeInt32BE(this.hasNull, HAS_NULL_AT);
    block.writeInt32BE(this.oid, HAS_NULL_AT + 4);
    block.writeInt32BE(this.length, LENGTH_AT);
    block.writeInt32BE(1, LENGTH_AT + 4);
    return block.subarray(0, this.end);
  }

  /** Makes room and writes the length of the next value. @returns where the length stands */
  private begin(length: number, bytes: number): number {
    const needed = this.end + 4 + bytes;
    if (needed > this.block.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.block.length * 2));
      this.block.copy(grown, 0, 0, this.end);
      this.block = grown;
    }
    const at = this.end;
    this.block.writeInt32BE(length, at);
    this.end = at + 4;
    this.length += 1;
    return at;
  }
}
