import type { Watermark } from '../../../shared/usage/read-watermark.js';
import { isoTime } from '../../restrictions/user-view.js';
import { csvRow, nameCell } from './csv.js';
import type { Summary, SummaryRow } from './summary-fold.js';
import type { SummaryRequest } from './summary-request.js';

/** How a summary is written. Rows are written as they are complete: text takes a tenth of what the rows do. */
export interface SummaryFormat {
  readonly contentType: string;
  row(row: SummaryRow): string;
  /** The whole answer. */
  whole(rows: readonly string[], total: Summary, watermark: Watermark): string;
  headers(watermark: Watermark): readonly string[];
}

export function summaryFormat(request: SummaryRequest): SummaryFormat {
  return request.format === 'csv' ? csvFormat(request) : jsonFormat(request);
}

function jsonFormat({ customer, range, window, groupBy }: SummaryRequest): SummaryFormat {
  return {
    contentType: 'application/json',
    row: ({ start, end, ...row }) =>
      JSON.stringify({ windowStart: isoTime(start), windowEnd: isoTime(end), ...row }),
    whole(rows, total, { watermarkMs, asOfMs }) {
      const before = { customerId: customer, from: isoTime(range.from), to: isoTime(range.to), window };
      const after = { total, watermark: isoTime(watermarkMs), asOf: isoTime(asOfMs) };
      const head = JSON.stringify({ ...before, groupBy: groupBy ?? null });
      return `${head.slice(0, -1)},"rows":[${rows.join(',')}],${JSON.stringify(after).slice(1)}`;
    },
    headers: () => [],
  };
}

/**
 * One line a row; where groups were asked for one line a row and group, with what is known by group. In the column of
 * names, those that a spreadsheet would take for a formula carry a `'` (see csv.ts).
 */
function csvFormat({ groupBy }: SummaryRequest): SummaryFormat {
  const columns =
    groupBy === undefined
      ? ['calls', 'tokens', 'inputTokens', 'outputTokens', 'avgLatencyMs', 'p50Ms', 'p95Ms', 'p99Ms']
      : [groupBy, 'calls', 'tokens'];
  return {
    contentType: 'text/csv; charset=utf-8; header=present',
    row(row) {
      const times = [isoTime(row.start), isoTime(row.end)];
      const says = [row.final, row.partial];
      if (row.groups !== undefined) {
        return row.groups
          .map(({ name, calls, tokens }) => csvRow([...times, nameCell(name), calls, tokens, ...says]))
          .join('');
      }
      const { calls, tokens, inputTokens, outputTokens, avgLatencyMs, p50Ms, p95Ms, p99Ms } = row;
      const sums = [calls, tokens, inputTokens, outputTokens];
      return csvRow([...times, ...sums, avgLatencyMs, p50Ms, p95Ms, p99Ms, ...says]);
    },
    whole: (rows) => csvRow(['windowStart', 'windowEnd', ...columns, 'final', 'partial']) + rows.join(''),
    headers: ({ watermarkMs, asOfMs }) => [
      ...['X-Weir-Watermark', isoTime(watermarkMs), 'X-Weir-As-Of', isoTime(asOfMs)],
      ...(groupBy === undefined
        ? []
        : ['X-Weir-Csv', "names that begin with = + - @ or ' carry a ' in front"]),
    ],
  };
}
