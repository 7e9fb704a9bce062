import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const ATTEMPTS_MAX = 600;
const TIMEOUT_MS = 20_000;

export interface Told {
  readonly status: number;
  readonly body: {
    readonly admission_id?: string;
    readonly code?: string;
    readonly reason?: string;
    readonly context?: { readonly reason?: string };
  };
}

/** What a caller does with what it was given. */
export interface Plan {
  /** Tokens; null: it cancels. */
  readonly actual: number | null;
  /** Takes `unreported` for an answer: what it said is kept. */
  readonly trusts: boolean;
}

/** One call; undefined where the connection broke. */
export async function call(url: string, path: string, body?: object): Promise<Told | undefined> {
  try {
    const response = await fetch(url + path, {
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { status: response.status, body: (await response.json()) as Told['body'] };
  } catch {
    return undefined;
  }
}

/** Asks until it is admitted. @param urls those of now; one that is dead is tried again. @returns the id, and why it was given */
export async function admit(
  urls: () => readonly string[],
  body: object,
): Promise<{ readonly id: string; readonly given: string | undefined }> {
  const told = await askUntil(urls, '/admissions', body, ({ status }) => status === 200 || status === 201);
  return { id: told.body.admission_id!, given: told.body.context?.reason };
}

/** Says what it took until that is accepted. @returns the last status */
export async function end(
  urls: () => readonly string[],
  id: string,
  { actual, trusts }: Plan,
): Promise<number> {
  const [path, body] =
    actual === null
      ? [`/admissions/${id}/cancel`, {}]
      : [`/admissions/${id}/settle`, { actual_tokens: actual }];
  const told = await askUntil(urls, path, body, ({ status, body: { reason } }) => {
    return status === 200 || status === 202 || (trusts && reason === 'unreported');
  });
  return told.status;
}

/** Tries again what may be tried again. @throws for any other answer */
async function askUntil(
  urls: () => readonly string[],
  path: string,
  body: object,
  isDone: (told: Told) => boolean,
): Promise<Told> {
  for (let attempts = 1; attempts <= ATTEMPTS_MAX; attempts += 1) {
    const now = urls();
    const told = await call(now[randomInt(0, now.length)]!, path, body);
    if (told !== undefined) {
      if (isDone(told)) return told;
      if (told.status !== 503) throw new Error(`${path}: ${told.status} ${JSON.stringify(told.body)}`);
    }
    await sleep(randomInt(20, 80));
  }
  throw new Error(`${path}: no answer`);
}
