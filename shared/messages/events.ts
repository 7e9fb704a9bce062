import { z } from 'zod';

/** Of these two no path can be made: every client and proxy that normalises one takes them out. */
export const NO_IDS: ReadonlySet<unknown> = new Set(['.', '..']);
export const NO_ID = 'must not be . or ..';

/**
 * Ids and names that come from outside: 1 to 128 characters (code points, as zod counts), no U+0000, no lone surrogates,
 * and neither `.` nor `..`.
 */
export const idSchema = z
  .string()
  .min(1, 'must not be empty')
  .max(128, 'must have at most 128 characters')
  .refine((text) => !text.includes('\0') && text.isWellFormed(), 'must not contain U+0000 or lone surrogates')
  .refine((text) => !NO_IDS.has(text), NO_ID);

/** Above this, a number with four decimals is no longer exact in JSON. */
export const AMOUNT_MAX = 1e15;

/** An amount of money: > 0, at most 4 decimals. Carried as the number it came as; summed as an integer. */
export const amountSchema = z
  .number()
  .positive('must be greater than 0')
  .max(AMOUNT_MAX, `must be at most ${AMOUNT_MAX}`)
  .refine(hasAtMostFourDecimals, 'must have at most 4 decimals');

function hasAtMostFourDecimals(amount: number): boolean {
  // The shortest text that reads back as this number is what the producer wrote; 1e-7 has an exponent.
  const text = String(amount);
  if (text.includes('e')) return amount >= 1;
  const point = text.indexOf('.');
  return point === -1 || text.length - point - 1 <= 4;
}

/**
 * The events weir knows and their properties. `user_id` becomes the message's subject; what is listed here
 * becomes its `data`. A new event is one line here.
 */
export const EVENT_PROPERTIES = {
  scam_message_flagged: z.object({ user_id: idSchema }),
  credit_card_added: z.object({ user_id: idSchema, card_id: idSchema, zip_code: idSchema }),
  purchase_made: z.object({ user_id: idSchema, amount: amountSchema }),
  chargeback_occurred: z.object({ user_id: idSchema, amount: amountSchema }),
} as const;

export type EventName = keyof typeof EVENT_PROPERTIES;

export type EventData = {
  readonly [Name in EventName]: Omit<z.infer<(typeof EVENT_PROPERTIES)[Name]>, 'user_id'>;
};

/** Features that can be restricted. A new feature is one line here. */
export const FEATURES = ['message', 'purchase'] as const;
export type Feature = (typeof FEATURES)[number];

export const MODES = ['live', 'shadow', 'off'] as const;
export type Mode = (typeof MODES)[number];
