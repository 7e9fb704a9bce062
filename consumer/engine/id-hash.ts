/**
 * HalfSipHash-1-3 with 64 bits of output (Aumasson and Bernstein), over the UTF-16 units of
 * `tenant NUL subject NUL id`.
 *
 * Keyed with a secret of the partition, so that nobody who chooses ids can make two collide. A collision would
 * drop an event as a duplicate: its probability is n / 2^64 per new id, n being the ids remembered (with 8 million,
 * 4 in 10^13). Measured against node:crypto's one-shot sha1: 0.2 µs instead of 0.9 µs for 50 characters.
 */
export class IdHasher {
  /** The two halves of the last hash: fields instead of a result, so that hashing allocates nothing. */
  hi = 0;
  lo = 0;

  private readonly k0: number;
  private readonly k1: number;
  private v0 = 0;
  private v1 = 0;
  private v2 = 0;
  private v3 = 0;
  /** The state after tenant and subject of the last message: the next one is often about the same. */
  private tenant: string | undefined;
  private subject: string | undefined;
  private s0 = 0;
  private s1 = 0;
  private s2 = 0;
  private s3 = 0;

  /** @param seed 16 hex digits */
  constructor(seed: string) {
    this.k0 = Number.parseInt(seed.slice(0, 8), 16) | 0;
    this.k1 = Number.parseInt(seed.slice(8, 16), 16) | 0;
  }

  hash(tenant: string, subject: string, id: string): void {
    if (subject === this.subject && tenant === this.tenant) {
      this.v0 = this.s0;
      this.v1 = this.s1;
      this.v2 = this.s2;
      this.v3 = this.s3;
    } else {
      this.absorbSubject(tenant, subject);
    }
    this.absorb(id);
    this.word((tenant.length + subject.length + id.length) << 24);
    this.v2 ^= 0xee;
    this.round();
    this.round();
    this.round();
    this.hi = (this.v1 ^ this.v3) >>> 0;
    this.v1 ^= 0xdd;
    this.round();
    this.round();
    this.round();
    this.lo = (this.v1 ^ this.v3) >>> 0;
  }

  private absorbSubject(tenant: string, subject: string): void {
    this.v0 = this.k0;
    this.v1 = this.k1 ^ 0xee;
    this.v2 = 0x6c796765 ^ this.k0;
    this.v3 = 0x74656462 ^ this.k1;
    this.absorb(tenant);
    this.absorb(subject);
    this.tenant = tenant;
    this.subject = subject;
    this.s0 = this.v0;
    this.s1 = this.v1;
    this.s2 = this.v2;
    this.s3 = this.v3;
  }

  /**
   * Two UTF-16 units to a word; the word after the last holds the part's length, so parts cannot run together.
   * The state is in local variables and the round is written out: a third faster than calling `word`.
   */
  private absorb(text: string): void {
    let { v0, v1, v2, v3 } = this;
    const { length } = text;
    const even = length & ~1;
    for (let i = 0; i <= even; i += 2) {
      const word =
        i < even
          ? text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16)
          : (length === even ? 0 : text.charCodeAt(even)) | (length << 16);
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    this.v0 = v0;
    this.v1 = v1;
    this.v2 = v2;
    this.v3 = v3;
  }

  private word(word: number): void {
    this.v3 ^= word;
    this.round();
    this.v0 ^= word;
  }

  private round(): void {
    let { v0, v1, v2, v3 } = this;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    this.v0 = v0;
    this.v1 = v1;
    this.v2 = v2;
    this.v3 = v3;
  }
}
