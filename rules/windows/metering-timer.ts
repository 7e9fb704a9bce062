/** Timers of the topic `usage`, named like the documents they are about. */
export type MeteringTimer =
  | { readonly kind: 'window'; readonly tenant: string; readonly start: number; readonly customer: string }
  | { readonly kind: 'counters'; readonly tenant: string; readonly customer: string };

/**
 * Reads `window:<tenant>:<start ms>:<customer>` and `counters:<tenant>:<customer>`. A tenant holds no `:` and the
 * customer, which may hold any, comes last.
 * @throws for a timer that is neither
 */
export function parseMeteringTimer(id: string): MeteringTimer {
  const window = /^window:([^:]+):(\d+):(.*)$/s.exec(id);
  if (window !== null) {
    return { kind: 'window', tenant: window[1]!, start: Number(window[2]), customer: window[3]! };
  }
  const counters = /^counters:([^:]+):(.*)$/s.exec(id);
  if (counters !== null) return { kind: 'counters', tenant: counters[1]!, customer: counters[2]! };
  throw new Error(`unknown timer ${id.slice(0, 200)}`);
}
