import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import { ApiFleet } from '../support/api-process.js';
import { EventsTopic } from '../support/partitions.js';
import { patient, RedisServer, until } from '../support/redis-server.js';
import { Fleet } from '../support/worker-process.js';
import { EventProducers } from './event-producers.js';
import type { Recount } from './recount.js';

/** How long the disturbances last, at least. */
const CHAOS_MS = 20_000;
const KILL_EVERY_MS = 500;
const KILL_API_EVERY_MS = 1500;
/** However slow the machine is. */
const ROUNDS_MIN = 30;
const KILLS_MIN = { workers: 11, apis: 4 } as const;
/**
 * Under everysec Redis puts a write off for about 2 s while an fsync is under way, and answers meanwhile: what is lost by
 * kill -9 cannot be older, nor than the time that answers are under way.
 */
const LOST_MS_MAX = 5000;

interface Done {
  workers: number;
  apis: number;
  redis: string[];
  cuts: number;
  sentAgain: number;
}

describe('chaos', () => {
  it('every accepted event counts exactly once, whatever is killed, cut or restarted', async function () {
    this.timeout(patient(60_000));
    const server = await RedisServer.start('--appendfsync', 'everysec');
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
    const apis = await ApiFleet.start(2, environment);
    const topic = new EventsTopic(redis, namespace);
    try {
      const producers = new EventProducers(() => apis.urls);
      const producing = producers.run();
      const done = await disturb(server, redis, fleet, apis, producers).finally(() => producers.stop());
      await producing;
      await fleet.replaceDead();
      await topic.drained(20_000);
      const { recount, unanswered } = producers;
      process.stdout.write(
        `      ${recount.events} events in ${producers.requests} requests; killed -9: ${done.workers} workers, ${done.apis} APIs, ` +
          `Redis under ${done.redis.join(' and ')}; ${done.cuts} times all connections cut; ` +
          `${done.sentAgain} events sent again, ${unanswered.length} given up unanswered\n`,
      );
      expect(done.workers).to.be.at.least(KILLS_MIN.workers);
      expect(done.apis).to.be.at.least(KILLS_MIN.apis);
      expect(done.redis).to.deep.equal(['everysec', 'always']);
      expect(recount.events).to.be.above(1000);
      await expectNothingLeft(redis, topic);
      await expectExactTotals(apis.urls[0]!, recount);
      await expectOnceAtMost(apis.urls[0]!, producers);
    } finally {
      await fleet.close();
      await apis.close();
      redis.disconnect();
      await server.stop();
    }
  });
});

/**
 * Kills a random worker every half second and a random API every one or two; cuts connections and flushes scripts in between.
 * Kills Redis under both ways to write its AOF, and restarts it once in order.
 */
async function disturb(
  server: RedisServer,
  redis: Redis,
  fleet: Fleet,
  apis: ApiFleet,
  producers: EventProducers,
): Promise<Done> {
  const done: Done = { workers: 0, apis: 0, redis: [], cuts: 0, sentAgain: 0 };
  const end = Date.now() + CHAOS_MS;
  const crash = async (...settings: string[]): Promise<void> => {
    const [, appendfsync] = (await redis.config('GET', 'appendfsync')) as string[];
    done.redis.push(appendfsync!);
    await server.crash(...settings);
  };
  const staged: Readonly<Record<number, () => Promise<void>>> = {
    10: async () => {
      const killedAt = Date.now();
      await crash('--appendfsync', 'always');
      // Nobody but the producers knows what was lost; what was not is a duplicate now.
      done.sentAgain = await producers.sendAgain(killedAt - LOST_MS_MAX);
    },
    // Nothing is lost: nothing is sent again.
    20: () => crash(),
    28: () => server.restart(),
  };
  let over = false;
  const killApis = async (): Promise<void> => {
    while (!over || done.apis < KILLS_MIN.apis) {
      await sleep(randomInt(KILL_API_EVERY_MS / 2, KILL_API_EVERY_MS));
      await apis.killOne();
      done.apis += 1;
    }
  };
  const killWorkers = async (): Promise<void> => {
    for (
      let round = 1;
      Date.now() < end || round <= ROUNDS_MIN || done.workers < KILLS_MIN.workers;
      round += 1
    ) {
      await sleep(randomInt(KILL_EVERY_MS / 2, KILL_EVERY_MS));
      const victims = fleet.alive;
      const victim = victims[randomInt(0, Math.max(1, victims.length))];
      if (victim !== undefined) {
        await victim.end('SIGKILL');
        done.workers += 1;
      }
      void fleet.replaceDead();
      if (round % 4 === 0) await redis.script('FLUSH').catch(() => undefined);
      if (round % 5 === 0) {
        done.cuts += 1;
        for (const type of ['NORMAL', 'PUBSUB']) {
          await redis.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes').catch(() => undefined);
        }
      }
      await staged[round]?.();
    }
  };
  await Promise.all([killWorkers().finally(() => (over = true)), killApis()]);
  await fleet.replaceDead();
  return done;
}

async function get(url: string): Promise<Record<string, unknown>> {
  return (await fetch(url)).json() as Promise<Record<string, unknown>>;
}

async function expectExactTotals(url: string, recount: Recount): Promise<void> {
  const actual: Record<string, unknown> = {};
  const expected: Record<string, unknown> = {};
  for (const user of recount.userIds) {
    const { profile } = await get(`${url}/users/${user}/restrictions`);
    const { can_message } = await get(`${url}/canmessage?user_id=${user}`);
    actual[user] = { profile, can_message };
    expected[user] = { profile: recount.profileOf(user), can_message: recount.mayMessage(user) };
  }
  expect(actual).to.deep.equal(expected);
}

/** What nobody answered counts once or not at all. */
async function expectOnceAtMost(url: string, { unanswered }: EventProducers): Promise<void> {
  for (const { event_properties } of unanswered) {
    const { profile } = await get(`${url}/users/${event_properties.user_id}/restrictions`);
    expect((profile as { total_spend: number }).total_spend).to.be.oneOf([0, event_properties.amount]);
  }
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
