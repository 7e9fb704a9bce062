import { randomUUID } from 'node:crypto';
import autocannon from 'autocannon';
import { usageSample } from './usage-events.js';

/** What `http-load` is asked to do. */
export interface HttpLoadJob {
  readonly url: string;
  readonly requests: 'post-event' | 'post-usage' | 'can-message';
  readonly connections: number;
  readonly seconds: number;
}

export interface HttpLoad {
  readonly requestsPerSecond: number;
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Each connection has users of its own, so that at any moment requests are spread over the partitions. */
const USERS_PER_CONNECTION = 100;

export function benchUser(connection: number, index: number): string {
  return `user-${String(connection).padStart(3, '0')}${String(index).padStart(3, '0')}`;
}

export function benchUsers(connections: number): string[] {
  return Array.from({ length: connections * USERS_PER_CONNECTION }, (_, i) =>
    benchUser(Math.floor(i / USERS_PER_CONNECTION), i % USERS_PER_CONNECTION),
  );
}

function postEvent(user: string): autocannon.Request {
  const event = {
    name: 'purchase_made',
    event_properties: {
      user_id: user,
      amount: 129.95,
      currency: 'EUR',
      merchant: 'example-store',
      country: 'DE',
    },
    event_id: randomUUID(),
    timestamp: new Date().toISOString(),
  };
  return {
    method: 'POST',
    path: '/event',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(event),
  };
}

function postUsage(customer: string): autocannon.Request {
  const event = {
    eventId: randomUUID(),
    timestamp: new Date().toISOString(),
    tenantId: 'acme',
    customerId: customer,
    ...usageSample(0, 2, 2),
  };
  return {
    method: 'POST',
    path: '/usage',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(event),
  };
}

function canMessage(user: string): autocannon.Request {
  return { method: 'GET', path: `/canmessage?user_id=${user}` };
}

const MAKE = { 'post-event': postEvent, 'post-usage': postUsage, 'can-message': canMessage } as const;

async function run({ url, requests, connections, seconds }: HttpLoadJob): Promise<HttpLoad> {
  const make = MAKE[requests];
  let opened = 0;
  const result = await autocannon({
    url,
    connections,
    duration: seconds,
    // Every second is too coarse for the length of a short round.
    sampleInt: 100,
    setupClient: (client) => {
      const connection = opened;
      opened += 1;
      client.setRequests(
        Array.from({ length: USERS_PER_CONNECTION }, (_, i) => make(benchUser(connection, i))),
      );
    },
  });
  const failed = result.non2xx + result.errors + result.timeouts;
  // A refusal is cheaper than an answer: the figure would flatter.
  if (failed > 0) throw new Error(`${failed} of ${result.requests.total} requests failed`);
  return {
    requestsPerSecond: result['2xx'] / result.duration,
    requests: result['2xx'],
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
  };
}

/** A process of its own: the generator must not share an event loop with anything that is measured. */
function serve(): void {
  process.on('message', (job: HttpLoadJob) => {
    run(job).then(
      (result) => process.send?.({ type: 'result', result }),
      (error: unknown) => process.send?.({ type: 'failed', error: String(error) }),
    );
  });
  process.on('SIGTERM', () => process.exit(0));
  process.on('disconnect', () => process.exit(0));
  process.send?.({ type: 'listening' });
}

if (process.argv[2] === 'serve') serve();
