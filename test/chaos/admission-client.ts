import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a caller knows in the end. */
export interface FinalAnswer {
  readonly status: number;
  readonly admissionId: string | undefined;
  readonly decision: string | undefined;
  readonly attempts: number;
}

const ATTEMPTS_MAX = 400;

/**
 * Asks for one admission until there is an answer that is one: not "undecided", not "unavailable", not a broken
 * connection. Every attempt is the same request, to any API.
 */
export async function admitUntilDecided(urls: () => readonly string[], body: object): Promise<FinalAnswer> {
  for (let attempts = 1; attempts <= ATTEMPTS_MAX; attempts += 1) {
    const now = urls();
    const answer = await admitOnce(now[randomInt(0, now.length)]!, body);
    if (answer !== undefined) return { ...answer, attempts };
    // Longer each time: a storm of retries would leave a slow machine no time to decide anything.
    await sleep(randomInt(20, 80) * Math.min(attempts, 10));
  }
  throw new Error('no answer');
}

async function admitOnce(url: string, body: object): Promise<Omit<FinalAnswer, 'attempts'> | undefined> {
  try {
    const response = await fetch(`${url}/admissions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    });
    const view = (await response.json()) as { admission_id?: string; decision?: string; code?: string };
    if (response.status === 503 || view.code === 'backlog_full') return undefined;
    return { status: response.status, admissionId: view.admission_id, decision: view.decision };
  } catch {
    return undefined;
  }
}
