import type { Difference, Reconciliation } from '../../shared/reconciliation/reconciliation.js';
import type { CountedAgain } from './counted-again.js';

/** What `npm run reconcile` prints. */
export function asText(result: Reconciliation, seconds: number): string {
  const { comparedWindows, pending, outside, drifted, drift } = result;
  const lines = [
    `${comparedWindows} windows compared with the raw events in ${seconds.toFixed(1)} s`,
    ...(pending > 0 ? [`${pending} in Redis are ahead of Postgres: not compared this time`] : []),
    ...(outside > 0 ? [`${outside} are older than the raw events that are kept: not compared`] : []),
  ];
  if (drifted === 0) return [...lines, 'no drift'].join('\n');
  const shown = drift.map(differenceText);
  const windows = new Set(
    drift.map(({ tenant, customer, windowStart }) => `${tenant} ${windowStart} ${customer}`),
  );
  const more = drifted > windows.size ? [`… and ${drifted - windows.size} more windows`] : [];
  return [...lines, `DRIFT in ${drifted} window(s):`, ...shown, ...more].join('\n');
}

export function countedAgainText({ ids, again, first }: CountedAgain): string {
  if (ids === 0) return 'no event counted twice';
  const shown = first.map(({ tenant, customer, source, eventId, counted }) => {
    const of = source === null ? '' : ` of ${JSON.stringify(source)}`;
    return `  ${tenant} ${JSON.stringify(customer)} ${JSON.stringify(eventId)}${of}: ${counted} times`;
  });
  const more = ids > first.length ? [`  … and ${ids - first.length} more ids`] : [];
  const head = `${ids} id(s) came back after DEDUPE_WINDOW_SECONDS and counted ${again} more time(s):`;
  return [head, ...shown, ...more].join('\n');
}

function differenceText({ tenant, customer, windowStart, field, hot, closed, raw }: Difference): string {
  const window = `  ${tenant} ${JSON.stringify(customer)} ${windowStart}`;
  if (field === 'document') return `${window}: the document in Redis cannot be read`;
  if (field === 'row') return `${window}: no window in Postgres for ${raw} raw event(s)`;
  if (field === 'revision') return `${window}: the window in Postgres should count ${raw} more raw event(s)`;
  const claimed = hot === undefined ? `Postgres says ${closed}` : `Redis says ${hot}`;
  return `${window} ${field}: ${claimed}, raw events say ${raw}`;
}
