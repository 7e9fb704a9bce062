import pg from 'pg';

const BIGINT = 20;

/**
 * How values of Postgres become values of JavaScript: as the driver does it, but a bigint is a number. Ours are
 * sums and ids that the fold keeps below 2^53; one above it is refused, never rounded.
 */
export const columnTypes: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === BIGINT && format !== 'binary' ? parseBigint : pg.types.getTypeParser(oid, format),
};

/** @throws RangeError above 2^53: the query fails. */
function parseBigint(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} is not a safe integer`);
  return value;
}
