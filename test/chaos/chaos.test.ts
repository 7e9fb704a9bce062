import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import { ApiProcess } from '../support/api-process.js';
import { EventsTopic } from '../support/partitions.js';
import { RedisServer, until } from '../support/redis-server.js';
import { Fleet } from '../support/worker-process.js';
import { type PostedEvent, Recount } from './recount.js';

/** How long the disturbances last. */
const CHAOS_MS = 20_000;
const KILL_EVERY_MS = 500;
const CLIENTS = 8;
const USERS = 200;

describe('chaos', () => {
  it('every accepted event counts exactly once, whatever is killed, cut or restarted', async function () {
    this.timeout(110_000);
    const server = await RedisServer.start();
    const namespace = `chaos-${nanoid(6)}`;
    const redis = new Redis(server.url);
    redis.on('error', () => undefined);
    // The tripwire would stop the rules: this test is about counting.
    const environment = {
      REDIS_URL: server.url,
      WEIR_NAMESPACE: namespace,
      TRIPWIRE_MIN_POPULATION: '1000000',
    };
    const fleet = await Fleet.start(3, environment);
    const apis = await Promise.all([ApiProcess.start(environment), ApiProcess.start(environment)]);
    const topic = new EventsTopic(redis, namespace);
    try {
      const recount = new Recount();
      const end = Date.now() + CHAOS_MS;
      const disturbances = disturb(server, redis, fleet, end);
      const clients = Array.from({ length: CLIENTS }, () =>
        client(
          apis.map(({ url }) => url),
          recount,
          end,
        ),
      );
      const attempts = (await Promise.all(clients)).reduce((sum, each) => sum + each, 0);
      const { kills, cuts } = await disturbances;
      await fleet.replaceDead();
      await topic.drained(20_000);
      process.stdout.write(
        `      ${recount.events} events in ${attempts} requests, ${kills} workers killed, ${cuts} times all connections cut\n`,
      );
      expect(kills).to.be.above(10);
      expect(recount.events).to.be.above(1000);
      await expectNothingLeft(redis, topic);
      await expectExactTotals(apis[0]!.url, recount);
    } finally {
      await fleet.close();
      await Promise.all(apis.map((api) => api.end('SIGKILL')));
      redis.disconnect();
      await server.stop();
    }
  });
});

/** Kills a random worker every half second; cuts, flushes scripts and restarts Redis in between. */
async function disturb(
  server: RedisServer,
  redis: Redis,
  fleet: Fleet,
  end: number,
): Promise<{ kills: number; cuts: number }> {
  let kills = 0;
  let cuts = 0;
  for (let round = 1; Date.now() < end; round += 1) {
    await sleep(randomInt(KILL_EVERY_MS / 2, KILL_EVERY_MS));
    const victims = fleet.alive;
    const victim = victims[randomInt(0, Math.max(1, victims.length))];
    if (victim !== undefined) {
      await victim.end('SIGKILL');
      kills += 1;
    }
    void fleet.replaceDead();
    if (round % 4 === 0) await redis.script('FLUSH').catch(() => undefined);
    if (round % 5 === 0) {
      cuts += 1;
      for (const type of ['NORMAL', 'PUBSUB']) {
        await redis.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes').catch(() => undefined);
      }
    }
    if (round === 20) await server.restart();
  }
  await fleet.replaceDead();
  return { kills, cuts };
}

/** Posts events one by one and in batches until the end; repeats each until it is accepted, and some for no reason. */
async function client(urls: readonly string[], recount: Recount, end: number): Promise<number> {
  let attempts = 0;
  while (Date.now() < end) {
    const events = Array.from({ length: randomInt(1, 4) === 1 ? randomInt(2, 50) : 1 }, randomEvent);
    let open: readonly PostedEvent[] = events;
    for (let patience = 500; open.length > 0 && patience > 0; patience -= 1) {
      attempts += 1;
      const rejected = await post(urls[randomInt(0, urls.length)]!, open);
      for (const event of open) if (!rejected.includes(event)) recount.accept(event);
      open = rejected;
      if (open.length > 0) await sleep(20);
    }
    expect(open, 'every event is accepted in the end').to.deep.equal([]);
    if (randomInt(0, 10) === 0) await post(urls[randomInt(0, urls.length)]!, events);
    await sleep(randomInt(0, 5));
  }
  return attempts;
}

/** Returns what was not accepted. */
async function post(url: string, events: readonly PostedEvent[]): Promise<readonly PostedEvent[]> {
  const single = events.length === 1;
  try {
    const response = await fetch(`${url}/${single ? 'event' : 'events'}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(single ? events[0] : events),
      signal: AbortSignal.timeout(5000),
    });
    const body = (await response.json()) as { rejected?: { index: number }[] };
    if (response.status !== 202) return events;
    return single ? [] : (body.rejected ?? []).map(({ index }) => events[index]!);
  } catch {
    return events;
  }
}

function randomEvent(): PostedEvent {
  const user_id = `user-${randomInt(0, USERS)}`;
  const event_id = nanoid();
  switch (randomInt(0, 4)) {
    case 0:
      return { name: 'scam_message_flagged', event_id, event_properties: { user_id } };
    case 1:
      return {
        name: 'credit_card_added',
        event_id,
        // One zip code per card: which of two would be the last depends on the order of acceptance.
        event_properties: { user_id, ...card(randomInt(0, 100)) },
      };
    case 2:
      return {
        name: 'purchase_made',
        event_id,
        event_properties: { user_id, amount: randomInt(1, 10_000) / 100 },
      };
    default:
      return {
        name: 'chargeback_occurred',
        event_id,
        event_properties: { user_id, amount: randomInt(1, 100) / 100 },
      };
  }
}

function card(n: number): { card_id: string; zip_code: string } {
  return { card_id: `card-${n}`, zip_code: `zip-${n % 7}` };
}

async function expectExactTotals(url: string, recount: Recount): Promise<void> {
  const get = async (path: string) =>
    (await fetch(`${url}${path}`)).json() as Promise<Record<string, unknown>>;
  const actual: Record<string, unknown> = {};
  const expected: Record<string, unknown> = {};
  for (const user of recount.userIds) {
    const { profile } = await get(`/users/${user}/restrictions`);
    const { can_message } = await get(`/canmessage?user_id=${user}`);
    actual[user] = { profile, can_message };
    expected[user] = { profile: recount.profileOf(user), can_message: recount.mayMessage(user) };
  }
  expect(actual).to.deep.equal(expected);
}

async function expectNothingLeft(redis: Redis, topic: EventsTopic): Promise<void> {
  await until(5000, 'every partition has an owner', async () => !(await topic.owners()).includes(null));
  for (const keys of topic.all) {
    await until(5000, 'the stream is trimmed', async () => (await redis.xlen(keys.stream)) === 0);
    const [pending] = (await redis.xpending(keys.stream, 'workers')) as [number];
    expect(pending).to.equal(0);
    expect(await redis.xrange(keys.dead, '-', '+')).to.deep.equal([]);
    expect(await redis.hget(keys.head, 'dirty')).to.equal('0');
    expect(await redis.hget(keys.head, 'folded')).to.equal(await redis.get(keys.appended));
  }
}
