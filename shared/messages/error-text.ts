const CHARACTERS_MAX = 1000;

/**
 * What was thrown, in words: `TypeError: …`. Anything may be thrown, also what has no text or throws when it is asked
 * for one; what comes back can be stored everywhere.
 */
export function errorText(error: unknown, charactersMax = CHARACTERS_MAX): string {
  try {
    return storableText(
      error instanceof Error ? `${error.name}: ${error.message}` : String(error),
      charactersMax,
    );
  } catch {
    return 'an error without a text';
  }
}

/** A text for people, cut to a bound, without what Postgres does not take. */
export function storableText(text: string, charactersMax: number): string {
  return text.slice(0, charactersMax).toWellFormed().replaceAll('\0', '\uFFFD');
}
