import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostedUsage, UsageRecount } from './usage-recount.js';

export interface ProducerOptions {
  /** Where to post; read at every attempt, because an API may be replaced. */
  readonly urls: () => readonly string[];
  readonly recount: UsageRecount;
  readonly tenants: readonly string[];
  readonly customers: readonly string[];
  /** Different events to post. */
  readonly events: number;
  /** Names its events. */
  readonly name: string;
  readonly startedAt: number;
  /** Spreads its events over this time. */
  readonly durationMs: number;
}

export interface Produced {
  readonly requests: number;
  /** Events posted again on purpose, though they were accepted. */
  readonly duplicates: number;
  /** Events whose own time lay in a window that had closed. */
  readonly late: number;
}

const BATCH_MIN = 200;
const BATCH_MAX = 500;
/** Accepted events of a tenant that may come again. */
const RECENT_MAX = 1000;
/** One batch in so many is sent twice at once. */
const TWICE_ONE_IN = 40;
/** Windows of these times have closed, and may have left Redis. */
const LATE_MS = { min: 8000, max: 35_000 } as const;
/** Windows of these times are so old that Redis never had them. */
const COLD_MS = { min: 1_200_000, max: 1_230_000 } as const;
const ENDPOINTS = ['/api/completion', '/api/embedding', '/api/image', '__proto__'];
const MODELS = ['gpt-4', 'gpt-3.5-turbo', 'constructor', undefined];
const ATTEMPTS_MAX = 1000;

/**
 * Posts its events in batches, each of one tenant: one in ten late, and for every ten one that was accepted before.
 * Sends each batch until all of it is accepted, to whichever API answers.
 */
export async function produce(options: ProducerOptions): Promise<Produced> {
  const recent = new Map(options.tenants.map((tenant): [string, PostedUsage[]] => [tenant, []]));
  let requests = 0;
  let duplicates = 0;
  let late = 0;
  for (let made = 0; made < options.events; ) {
    const dueAt = options.startedAt + (options.durationMs * made) / options.events;
    await sleep(Math.max(0, dueAt - Date.now()));
    const size = Math.min(randomInt(BATCH_MIN, BATCH_MAX), options.events - made);
    const tenant = pick(options.tenants);
    const fresh = Array.from({ length: size }, (_, i) => {
      const lateMs = latenessMs();
      if (lateMs > 0) late += 1;
      return newEvent(`${options.name}-${made + i}`, tenant, pick(options.customers), Date.now() - lateMs);
    });
    made += size;
    const ofTenant = recent.get(tenant)!;
    const again =
      ofTenant.length === 0 ? [] : Array.from({ length: Math.ceil(size / 9) }, () => pick(ofTenant));
    const batch = [...fresh, ...again];
    const copies = randomInt(0, TWICE_ONE_IN) === 0 ? 2 : 1;
    const attempts = await Promise.all(
      Array.from({ length: copies }, () => postUntilAccepted(batch, options)),
    );
    requests += attempts.reduce((sum, each) => sum + each, 0);
    duplicates += again.length + (copies - 1) * batch.length;
    ofTenant.push(...fresh);
    ofTenant.splice(0, ofTenant.length - RECENT_MAX);
  }
  return { requests, duplicates, late };
}

/** @returns attempts */
async function postUntilAccepted(
  batch: readonly PostedUsage[],
  { urls, recount }: ProducerOptions,
): Promise<number> {
  let open = batch;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const rejected = await post(pick(urls()), open);
    for (const event of open) if (!rejected.has(event)) recount.accept(event);
    open = open.filter((event) => rejected.has(event));
    if (open.length === 0) return attempt;
    await sleep(50);
  }
  throw new Error(`${open.length} events were not accepted in ${ATTEMPTS_MAX} attempts`);
}

/** Returns what was not accepted: all of it where there is no answer. */
async function post(url: string, batch: readonly PostedUsage[]): Promise<ReadonlySet<PostedUsage>> {
  try {
    const response = await fetch(`${url}/usage/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-tenant-id': batch[0]!.tenantId },
      body: JSON.stringify(batch),
      signal: AbortSignal.timeout(5000),
    });
    const body = (await response.json()) as { rejected?: { index: number }[] };
    if (response.status !== 202) return new Set(batch);
    return new Set((body.rejected ?? []).map(({ index }) => batch[index]!));
  } catch {
    return new Set(batch);
  }
}

/** 0 for nine of ten. */
function latenessMs(): number {
  if (randomInt(0, 10) > 0) return 0;
  const { min, max } = randomInt(0, 2) === 0 ? LATE_MS : COLD_MS;
  return randomInt(min, max);
}

function newEvent(eventId: string, tenantId: string, customerId: string, at: number): PostedUsage {
  const inputTokens = randomInt(0, 2000);
  const outputTokens = randomInt(0, 2000);
  const model = pick(MODELS);
  return {
    eventId,
    timestamp: new Date(at).toISOString(),
    tenantId,
    customerId,
    apiEndpoint: pick(ENDPOINTS),
    metadata: {
      tokens: inputTokens + outputTokens,
      inputTokens,
      outputTokens,
      ...(model === undefined ? {} : { model }),
      // To the microsecond; one in ten does not say.
      ...(randomInt(0, 10) === 0 ? {} : { latencyMs: randomInt(0, 3_000_000) / 1000 }),
    },
  };
}

function pick<T>(from: readonly T[]): T {
  return from[randomInt(0, from.length)]!;
}
