import { expect } from 'chai';
import fc from 'fast-check';
import type { WindowEmission } from '../../../shared/messages/window-emission.js';
import { ArchiveUnderTest, type EventOptions, JudgedStream, T0, WINDOW_MS } from './archive-under-test.js';

const RUNS = 40;
const CUSTOMERS = ['a', 'b', '__proto__'];
const ENDPOINTS = ['/e', '__proto__', '/f', '/g', '/h'];

interface Step {
  readonly customer: number;
  readonly window: number;
  readonly endpoint: number;
  readonly tokens: number;
  readonly again: boolean;
  readonly closes: boolean;
  readonly poison: boolean;
}

/** From one outbox entry to another, by one of two sinks. */
interface Cut {
  readonly back: number;
  readonly length: number;
  readonly zombie: boolean;
}

const steps = fc.array(
  fc.record({
    customer: fc.nat(CUSTOMERS.length - 1),
    window: fc.nat(2),
    endpoint: fc.nat(ENDPOINTS.length - 1),
    tokens: fc.nat(1000),
    again: fc.boolean(),
    closes: fc.boolean(),
    poison: fc.integer({ min: 0, max: 19 }).map((n) => n === 0),
  }),
  { minLength: 5, maxLength: 60 },
);
const cuts = fc.array(fc.record({ back: fc.nat(6), length: fc.nat(15), zombie: fc.boolean() }), {
  minLength: 10,
  maxLength: 40,
});

interface Sum {
  calls: number;
  tokens: number;
}

/**
 * A partition in small: a customer's events are accepted until its window closes, and then it leaves Redis: what comes
 * after is cold. Keeps the account that the archive must come to.
 */
class SmallPartition {
  readonly stream: JudgedStream;
  readonly expected = new Map<string, Sum>();
  rows = 0;
  refused = 0;
  private readonly closed = new Set<string>();
  private events = 0;

  constructor(index: number) {
    this.stream = new JudgedStream(index);
  }

  step({ customer, window, endpoint, tokens, again, closes, poison }: Step): void {
    const name = CUSTOMERS[customer]!;
    const key = `${name} ${window}`;
    const cold = this.closed.has(key);
    const data = [ENDPOINTS[endpoint], tokens, 0, 0, null, null, ...(poison ? [{ text: '\0' }] : [])];
    const options: EventOptions = { customer: name, at: window * WINDOW_MS + tokens, data };
    const id = `e${this.events}`;
    this.events += 1;
    // Hot windows count in Redis, whatever Postgres thinks of the row; only cold ones are poisoned here.
    if (poison && !cold) return;
    const messages = [[id, cold ? 'cold' : 'accepted', options] as const];
    this.stream.judge(...messages, ...(again ? [[id, 'duplicate', options] as const] : []));
    this.rows += again ? 1 : 0;
    if (poison) {
      this.refused += 1;
      return;
    }
    this.rows += 1;
    this.count(key, tokens);
    if (cold || !closes) return;
    this.closed.add(key);
    this.stream.emit(this.emission(name, window));
  }

  /** All windows close in the end. */
  end(): void {
    for (const key of this.expected.keys()) {
      if (this.closed.has(key)) continue;
      const [name = '', window = ''] = key.split(' ');
      this.stream.emit(this.emission(name, Number(window)));
    }
  }

  private count(key: string, tokens: number): void {
    const sum = this.expected.get(key) ?? { calls: 0, tokens: 0 };
    this.expected.set(key, { calls: sum.calls + 1, tokens: sum.tokens + tokens });
  }

  private emission(customer: string, window: number): Partial<WindowEmission> {
    const { calls, tokens } = this.expected.get(`${customer} ${window}`)!;
    const last = this.stream.batch().events.at(-1)!;
    const start = T0 + window * WINDOW_MS;
    return {
      ...{ customer, start, end: start + WINDOW_MS, asOf: [last.entry, last.index], calls, tokens },
      ...{ endpoints: [['/all', calls, tokens]], models: [] },
    };
  }
}

describe('batches cut in any way', () => {
  let test: ArchiveUnderTest;
  before(async () => {
    test = await ArchiveUnderTest.start();
  });
  after(() => test.close());

  it('make what one batch makes: every event once, windows and rows in agreement', async function () {
    this.timeout(120_000);
    let index = 0;
    await fc.assert(
      fc.asyncProperty(steps, cuts, async (story, howToCut) => {
        index += 1;
        const partition = new SmallPartition(index);
        for (const step of story) partition.step(step);
        partition.end();
        await writeInCuts(partition, howToCut);
        await expectAgreement(partition, index);
      }),
      { numRuns: RUNS },
    );
  });

  /** The owner goes back to what it had acknowledged, the zombie is somewhere before; in the end all is written. */
  async function writeInCuts({ stream, refused }: SmallPartition, howToCut: readonly Cut[]): Promise<void> {
    const owner = test.archive();
    const zombie = test.archive();
    const told = new Set<string>();
    let reached = 0;
    for (const { back, length, zombie: isZombie } of [
      ...howToCut,
      { back: 6, length: 1000, zombie: false },
    ]) {
      const from = Math.max(0, reached - back);
      const to = Math.min(stream.length, from + length);
      const batch = stream.batch(from, to);
      for (const { event } of await (isZombie ? zombie : owner).write(batch)) told.add(event.message.id);
      // An acknowledgement that was lost: the next owner comes again with the same.
      if (!isZombie) reached = Math.max(reached, to);
    }
    expect(told.size).to.equal(refused);
  }

  async function expectAgreement({ expected, rows }: SmallPartition, partition: number): Promise<void> {
    const [count] = await test.query('SELECT count(*) AS rows FROM usage_events WHERE partition = $1', [
      partition,
    ]);
    expect(count).to.deep.equal({ rows });
    const stored = await test.query<{
      key: string;
      calls: number;
      tokens: number;
      recount: Sum;
      endpoints: Sum;
    }>(
      `SELECT format('%s %s', c.external_id,
           ((extract(epoch FROM w.window_start) * 1000)::bigint - $2::bigint) / $3::bigint) AS key,
         w.total_calls AS calls, w.total_tokens AS tokens,
         (SELECT jsonb_build_object('calls', count(*), 'tokens', sum(u.tokens)) FROM usage_events u
          WHERE u.partition = $1 AND u.customer_id = w.customer_id AND u.window_start = w.window_start
            AND u.status IN ('accepted', 'late')) AS recount,
         (SELECT jsonb_build_object('calls', sum((e ->> 1)::bigint), 'tokens', sum((e ->> 2)::bigint))
          FROM jsonb_array_elements(w.aggregation_data -> 'endpoints') AS e) AS endpoints
       FROM aggregation_windows w JOIN customers c ON c.id = w.customer_id`,
      [partition, T0, WINDOW_MS],
    );
    const sums = new Map(stored.map(({ key, calls, tokens }) => [key, { calls, tokens }]));
    expect(sums).to.deep.equal(expected);
    for (const { calls, tokens, recount, endpoints } of stored) {
      expect(recount).to.deep.equal({ calls, tokens });
      expect(endpoints).to.deep.equal({ calls, tokens });
    }
    await test.query('TRUNCATE aggregation_windows');
  }
});
