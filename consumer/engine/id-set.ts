const INITIAL_SLOTS = 1024;
/** Above this share of used slots the table doubles. */
const LOAD_MAX = 0.6;

/**
 * A set of 64-bit numbers given as two unsigned halves: open addressing in one typed array, 13 to 27 bytes a
 * member. (A JavaScript `Set` takes 40 and more, and throws at 16.7 million.)
 */
export class IdSet {
  size = 0;
  private mask: number;
  private slots: Uint32Array;

  constructor() {
    this.mask = INITIAL_SLOTS - 1;
    this.slots = new Uint32Array(INITIAL_SLOTS * 2);
  }

  has(hi: number, lo: number): boolean {
    return this.slots[this.find(hi, present(lo)) * 2 + 1] !== 0;
  }

  /** False when it was there already. */
  add(hi: number, lo: number): boolean {
    const stored = present(lo);
    const slot = this.find(hi, stored);
    if (this.slots[slot * 2 + 1] !== 0) return false;
    this.slots[slot * 2] = hi;
    this.slots[slot * 2 + 1] = stored;
    this.size += 1;
    if (this.size > (this.mask + 1) * LOAD_MAX) this.grow();
    return true;
  }

  /** Empties the set; a table that has grown beyond `slotsMax` is given back. */
  clear(slotsMax = 65_536): void {
    if (this.size === 0) return;
    if (this.mask + 1 > slotsMax) {
      this.mask = INITIAL_SLOTS - 1;
      this.slots = new Uint32Array(INITIAL_SLOTS * 2);
    } else {
      this.slots.fill(0);
    }
    this.size = 0;
  }

  private find(hi: number, stored: number): number {
    const { slots, mask } = this;
    let slot = (stored ^ (hi >>> 15)) & mask;
    for (;;) {
      const found = slots[slot * 2 + 1]!;
      if (found === 0 || (found === stored && slots[slot * 2] === hi)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  private grow(): void {
    const old = this.slots;
    const slots = (this.mask + 1) * 2;
    this.mask = slots - 1;
    this.slots = new Uint32Array(slots * 2);
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] === 0) continue;
      const slot = this.find(old[i]!, old[i + 1]!);
      this.slots[slot * 2] = old[i]!;
      this.slots[slot * 2 + 1] = old[i + 1]!;
    }
  }
}

/** 0 marks an empty slot, so a low half of 0 is kept as 1 (once in 4 billion ids: one bit of the hash less). */
function present(lo: number): number {
  return lo === 0 ? 1 : lo;
}
