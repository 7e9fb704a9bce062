/** Decimals an amount may have; AMOUNT_SCALE (10,000) is ten to their power. */
const DECIMALS_MAX = 4;

/**
 * An amount in 1/10,000 of a unit, exactly what the producer wrote: a JSON number's shortest decimal text is read
 * digit by digit, so that three times 0.1 is 0.3.
 * @throws for anything but a number > 0 with at most 4 decimals
 */
export function unitsOf(amount: unknown): bigint {
  if (typeof amount !== 'number' || !(amount > 0)) throw new Error('amount is not a number greater than 0');
  // Below 2^52 two neighbouring doubles lie closer than two amounts: what divides back is what was written.
  const scaled = Math.round(amount * 10_000);
  if (scaled < 2 ** 52 && scaled / 10_000 === amount) return BigInt(scaled);
  const text = String(amount);
  const point = text.indexOf('.');
  const decimals = point === -1 ? '' : text.slice(point + 1);
  // Infinity, and the exponents of the very small (1e-7) and the very large (1e21), are no plain digits.
  if (decimals.length > DECIMALS_MAX || !/^[\d.]+$/.test(text)) {
    throw new Error('amount has more than 4 decimals or is too large');
  }
  const whole = point === -1 ? text : text.slice(0, point);
  return BigInt(whole + decimals.padEnd(DECIMALS_MAX, '0'));
}

/** `123456n` → `12.3456`, `10000n` → `1`: for people to read. */
export function formatAmount(units: bigint): string {
  const digits = units.toString().padStart(DECIMALS_MAX + 1, '0');
  const whole = digits.slice(0, -DECIMALS_MAX);
  const decimals = digits.slice(-DECIMALS_MAX).replace(/0+$/, '');
  return decimals === '' ? whole : `${whole}.${decimals}`;
}
