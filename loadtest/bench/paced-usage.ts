import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { type Percentiles, percentilesOf } from './figures.js';
import { getRequest, RawConnection } from './raw-http.js';
import { UsageBody } from './usage-body.js';

/** What `paced-usage` is asked to do. */
export interface PacedUsageJob {
  readonly url: string;
  readonly redisUrl: string;
  readonly eventsPerSecond: number;
  /** Events of one body, which are of one customer. */
  readonly eventsPerBody: number;
  /** How many customers take turns; more when all of them wait for answers. */
  readonly customers: number;
  readonly seconds: number;
}

/** Times in ms. */
export interface PacedUsage {
  /** From the 202 until an answer of GET /usage/current that counts all of the body. */
  readonly visible: Percentiles;
  /** The POSTs of all bodies. */
  readonly posts: Percentiles;
  /** Such a GET by itself: the resolution of `visible`. */
  readonly reads: Percentiles;
  /** PING on a connection of its own, from the same process at the same time. */
  readonly roundTrips: Percentiles;
  readonly samples: number;
  readonly eventsPerSecond: number;
}

/** Every so many bodies one is waited for until it is visible. */
const SAMPLE_EVERY = 2;
const WARM_UP_SECONDS = 3;
const TENANTS = 5;
const VISIBLE_MS_MAX = 10_000;
const PING_EVERY_MS = 10;

/** A customer has one body on its way at a time, so that what is to be visible after it is known. */
class Customer {
  counted = 0;

  private constructor(
    readonly connection: RawConnection,
    readonly body: UsageBody,
    readonly read: Buffer,
  ) {}

  static async open(index: number, { url, eventsPerBody }: PacedUsageJob): Promise<Customer> {
    const tenant = `tenant-${index % TENANTS}`;
    const customer = `customer-${index}`;
    return new Customer(
      await RawConnection.open(url),
      new UsageBody({ events: eventsPerBody, customerOf: () => ({ tenant, customer }) }),
      getRequest(`/usage/current?customerId=${customer}`, { 'X-Tenant-Id': tenant }),
    );
  }
}

class PacedUsageRun {
  private readonly visibleMs: number[] = [];
  private readonly postMs: number[] = [];
  private readonly readMs: number[] = [];
  private readonly roundTripMs: number[] = [];
  private readonly idle: Customer[] = [];
  private opened = 0;
  private warm = false;
  private ended = false;
  private failure: unknown;

  constructor(private readonly job: PacedUsageJob) {}

  /** Open loop: a body is due at its time, however long those before it take. */
  async run(): Promise<PacedUsage> {
    const { eventsPerSecond, eventsPerBody, customers, seconds, redisUrl } = this.job;
    const bodiesPerSecond = eventsPerSecond / eventsPerBody;
    const total = Math.round(bodiesPerSecond * (WARM_UP_SECONDS + seconds));
    for (let i = 0; i < customers; i += 1) this.idle.push(await this.open());
    const redis = new Redis(redisUrl);
    const pings = this.pingOn(redis);
    const pending: Promise<void>[] = [];
    const start = performance.now();
    for (let sent = 0; sent < total && this.failure === undefined; ) {
      const due = Math.min(total, Math.floor(((performance.now() - start) * bodiesPerSecond) / 1000));
      this.warm = sent >= bodiesPerSecond * WARM_UP_SECONDS;
      for (; sent < due; sent += 1) {
        pending.push(
          this.send(sent).catch((error: unknown) => {
            this.failure ??= error;
          }),
        );
      }
      await sleep(1);
    }
    const elapsedSeconds = (performance.now() - start) / 1000;
    await Promise.all(pending);
    this.ended = true;
    await pings;
    redis.disconnect();
    for (const { connection } of this.idle) connection.close();
    if (this.failure !== undefined) throw this.failure;
    return {
      visible: percentilesOf(this.visibleMs),
      posts: percentilesOf(this.postMs),
      reads: percentilesOf(this.readMs),
      roundTrips: percentilesOf(this.roundTripMs),
      samples: this.visibleMs.length,
      eventsPerSecond: (total * eventsPerBody) / elapsedSeconds,
    };
  }

  private open(): Promise<Customer> {
    return Customer.open(this.opened++, this.job);
  }

  private async send(serial: number): Promise<void> {
    const customer = this.idle.shift() ?? (await this.open());
    const isMeasured = this.warm;
    customer.body.stamp(serial, Date.now());
    const asked = performance.now();
    const { status, body } = await customer.connection.request(customer.body.bytes);
    if (status !== 202) throw new Error(`POST /usage/batch: ${status} ${body.slice(0, 500)}`);
    const answered = performance.now();
    customer.counted += this.job.eventsPerBody;
    if (isMeasured) this.postMs.push(answered - asked);
    if (serial % SAMPLE_EVERY === 0) await this.seen(customer, answered, isMeasured);
    this.idle.push(customer);
  }

  private async seen(
    { connection, read, counted }: Customer,
    answered: number,
    isMeasured: boolean,
  ): Promise<void> {
    for (;;) {
      const asked = performance.now();
      const { status, body } = await connection.request(read);
      if (status !== 200) throw new Error(`GET /usage/current: ${status} ${body.slice(0, 500)}`);
      const now = performance.now();
      if (isMeasured) this.readMs.push(now - asked);
      const { day } = JSON.parse(body) as { day: { calls: number } };
      if (day.calls >= counted) {
        if (isMeasured) this.visibleMs.push(now - answered);
        return;
      }
      if (now - answered > VISIBLE_MS_MAX) throw new Error(`not visible within ${VISIBLE_MS_MAX} ms`);
    }
  }

  private async pingOn(redis: Redis): Promise<void> {
    while (!this.ended) {
      const asked = performance.now();
      await redis.ping();
      if (this.warm) this.roundTripMs.push(performance.now() - asked);
      await sleep(PING_EVERY_MS);
    }
  }
}

process.on('message', (job: PacedUsageJob) => {
  new PacedUsageRun(job).run().then(
    (result) => process.send?.({ type: 'result', result }),
    (error: unknown) => process.send?.({ type: 'failed', error: String(error) }),
  );
});
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
process.send?.({ type: 'listening' });
