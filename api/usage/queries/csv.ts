/** A value of a cell. */
export type Cell = string | number | boolean | null;

/** RFC 4180: CRLF after every row, quotes where a cell needs them; null is an empty cell. */
export function csvRow(cells: readonly Cell[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

function csvCell(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell !== 'string') return String(cell);
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/**
 * A name as a cell that no spreadsheet takes for a formula. Names come from outside, and one that begins with
 * `=`, `+`, `-`, `@`, a tab or a line break may be run by who opens the file: it gets a `'` in front. So does one that
 * begins with `'` itself: whoever takes one `'` off the front has the name as it was.
 */
export function nameCell(name: string): string {
  return /^[=+\-@\t\r\n']/.test(name) ? `'${name}` : name;
}
