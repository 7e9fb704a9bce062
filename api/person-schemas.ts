import { z } from 'zod';

const text = (charactersMax: number) =>
  z
    .string()
    .min(1, 'must not be empty')
    .max(charactersMax, `must have at most ${charactersMax} characters`)
    .refine((value) => !value.includes('\0') && value.isWellFormed(), {
      error: 'must not contain U+0000 or lone surrogates',
    });

/** Who did it: a name or address that people recognise. */
export const actorSchema = text(128);
/** Why, for people to read. */
export const reasonSchema = text(500);
