import type { Totals } from './metering-state.js';

/** `["",1234567890123456,1234567890123456],`: an entry is no longer than this and its name. */
const FIGURES_BYTES_MAX = 40;

/** Bytes that one more name and its figures take at most in a document. */
export function nameBytes(name: string): number {
  return Buffer.byteLength(JSON.stringify(name)) + FIGURES_BYTES_MAX;
}

/** Bytes that all names and their figures take at most in a document. */
export function nameBytesOf({ byEndpoint, byModel }: Pick<Totals, 'byEndpoint' | 'byModel'>): number {
  let bytes = 0;
  for (const name of byEndpoint.keys()) bytes += nameBytes(name);
  for (const name of byModel.keys()) bytes += nameBytes(name);
  return bytes;
}
