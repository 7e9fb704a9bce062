import { z } from 'zod';
import { ACTUAL_TOKENS_MAX } from '../../shared/messages/admissions.js';
import { idSchema } from '../../shared/messages/events.js';
import { PRIORITIES } from '../../shared/state/budget-config.js';

const PIPELINE_CHARACTERS_MAX = 64;
const HOLD_SECONDS_MAX = 86_400;

const wholeNumber = (min: number, max: number) =>
  z
    .number()
    .refine(
      (value) => Number.isInteger(value) && value >= min && value <= max,
      `must be a whole number from ${min} to ${max}`,
    );

const asked = {
  pipeline: idSchema.max(PIPELINE_CHARACTERS_MAX, `must have at most ${PIPELINE_CHARACTERS_MAX} characters`),
  priority: z.enum(PRIORITIES),
  estimated_tokens: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  request_id: idSchema.optional(),
  /** What the request is about; only its hash goes on. */
  payload: z.unknown().optional(),
};

/** `POST /v1/evaluate` */
export const evaluateSchema = z.strictObject(asked);

/** `POST /admissions` */
export const admitSchema = z.strictObject({
  ...asked,
  hold_seconds: wholeNumber(1, HOLD_SECONDS_MAX).optional(),
});

/** `POST /admissions/{id}/settle` */
export const settleSchema = z.strictObject({ actual_tokens: wholeNumber(0, ACTUAL_TOKENS_MAX) });

/** `POST /admissions/{id}/cancel`: there is nothing to say. */
export const cancelSchema = z.strictObject({}).optional();
