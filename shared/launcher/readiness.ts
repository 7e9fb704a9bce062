import { setTimeout as delay } from 'node:timers/promises';
import type { Say } from './say.js';

const pollMs = 100;
const requestMsMax = 2000;
const reportMsFirst = 5000;
const reportMsMax = 60_000;

/**
 * Asks GET /ready until it answers 200 and says so. Until then it says what is missing, after 5 s and then ever
 * less often, up to once a minute: there is nothing better to do than to wait, e.g. for a worker started elsewhere.
 */
export async function reportReadiness(
  url: string,
  { say, signal }: { readonly say: Say; readonly signal: AbortSignal },
): Promise<void> {
  let intervalMs = reportMsFirst;
  let reportAt = performance.now() + intervalMs;
  for (;;) {
    const missing = await askReady(url, signal);
    if (missing === undefined) break;
    if (performance.now() >= reportAt) {
      say('waiting', `not ready yet: ${missing}`);
      intervalMs = Math.min(intervalMs * 2, reportMsMax);
      reportAt = performance.now() + intervalMs;
    }
    await delay(pollMs, undefined, { signal });
  }
  say('ready', `POST ${url}/event`);
}

/** What GET /ready says is missing; undefined when nothing is. */
async function askReady(url: string, stopped: AbortSignal): Promise<string | undefined> {
  try {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(requestMsMax)]);
    const response = await fetch(`${url}/ready`, { signal });
    const body = await response.text();
    return response.status === 200 ? undefined : failedChecks(body);
  } catch (error) {
    const { message, cause } = error as Error;
    return `GET /ready: ${cause instanceof Error ? cause.message : message}`;
  }
}

function failedChecks(body: string): string {
  try {
    const { checks } = JSON.parse(body) as { readonly checks?: Readonly<Record<string, unknown>> };
    const failed = Object.entries(checks ?? {}).filter(([, check]) => !isOk(check));
    return failed.map(([name, check]) => `${name} ${plain(check)}`).join(', ') || body;
  } catch {
    return body;
  }
}

function isOk(check: unknown): boolean {
  if (typeof check === 'object' && check !== null) return (check as { status?: unknown }).status === 'ok';
  return check === 'ok' || check === 'not_configured' || check === true;
}

function plain(check: unknown): string {
  return typeof check === 'string' ? check : JSON.stringify(check);
}
