import type { Request } from 'express';
import type { StartRange } from '../../../shared/usage/hot-usage.js';
import { requiredId } from '../../http/query.js';
import { optionalChoice, requiredRange, strictQuery } from './query-parameters.js';
import { GROUPINGS, type Grouping } from './summary-fold.js';

/** Lengths of a row in ms; the first is one window, whatever its length. */
const WINDOW_MS = { '30s': 0, '1m': 60_000, '1h': 3_600_000, '1d': 86_400_000 } as const;
export type SummaryWindow = keyof typeof WINDOW_MS;
const WINDOWS = Object.keys(WINDOW_MS) as SummaryWindow[];
const WINDOW_DEFAULT = '1h';

export interface SummaryRequest {
  readonly customer: string;
  readonly range: StartRange;
  readonly window: SummaryWindow;
  readonly bucketMs: number;
  readonly groupBy: Grouping | undefined;
  readonly format: 'json' | 'csv';
}

/** @throws Refusal invalid_request, range_too_large */
export function readSummaryRequest(req: Request, windowMs: number): SummaryRequest {
  const parameters = strictQuery(req.url, ['customerId', 'from', 'to', 'window', 'groupBy']);
  const window = optionalChoice(parameters, 'window', WINDOWS) ?? WINDOW_DEFAULT;
  return {
    customer: requiredId(parameters, 'customerId'),
    range: requiredRange(parameters),
    window,
    // WINDOW_SECONDS divides 60, so that every longer row is made of whole windows.
    bucketMs: window === '30s' ? windowMs : WINDOW_MS[window],
    groupBy: optionalChoice(parameters, 'groupBy', GROUPINGS),
    format: req.accepts(['application/json', 'text/csv']) === 'text/csv' ? 'csv' : 'json',
  };
}
