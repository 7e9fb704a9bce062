import { RawConnection } from './raw-http.js';
import { UsageBody } from './usage-body.js';

/** What `usage-load` is asked to do. */
export interface UsageLoadJob {
  readonly url: string;
  readonly connections: number;
  /** Bodies of `eventsPerBody` events; their ids are made of numbers from `firstBody` on. */
  readonly bodies: number;
  readonly firstBody: number;
  readonly eventsPerBody: number;
  /** Every body has events of so many customers (at most one each), of five tenants. */
  readonly customers: number;
}

export interface UsageLoad {
  /** Beginning of the first request, end of the last answer: ms since the epoch. */
  readonly begunAt: number;
  readonly answeredAt: number;
}

const TENANTS = 5;

/** Closed loop: every connection sends its next body when the one before is answered. */
async function run(job: UsageLoadJob): Promise<UsageLoad> {
  const { url, connections, bodies, firstBody, eventsPerBody, customers } = job;
  const customerOf = (index: number) => {
    const customer = index % customers;
    return { tenant: `tenant-${customer % TENANTS}`, customer: `customer-${customer}` };
  };
  const senders = await Promise.all(
    Array.from({ length: Math.min(connections, bodies) }, async () => ({
      connection: await RawConnection.open(url),
      // One each: it must not change while it is on its way.
      body: new UsageBody({ events: eventsPerBody, customerOf }),
    })),
  );
  const expected = `{"accepted":${eventsPerBody},`;
  let next = firstBody;
  const begunAt = Date.now();
  await Promise.all(
    senders.map(async ({ connection, body }) => {
      while (next < firstBody + bodies) {
        body.stamp(next, Date.now());
        next += 1;
        const answer = await connection.request(body.bytes);
        // A refusal is cheaper than an answer: the figure would flatter.
        if (answer.status !== 202 || !answer.body.startsWith(expected)) {
          throw new Error(`POST /usage/batch: ${answer.status} ${answer.body.slice(0, 500)}`);
        }
      }
    }),
  );
  const answeredAt = Date.now();
  for (const { connection } of senders) connection.close();
  return { begunAt, answeredAt };
}

process.on('message', (job: UsageLoadJob) => {
  run(job).then(
    (result) => process.send?.({ type: 'result', result }),
    (error: unknown) => process.send?.({ type: 'failed', error: String(error) }),
  );
});
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
process.send?.({ type: 'listening' });
