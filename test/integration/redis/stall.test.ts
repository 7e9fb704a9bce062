import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { Lifecycle } from '../../../shared/lifecycle.js';
import { createLogger } from '../../../shared/logging.js';
import { connectRedis, whenReady } from '../../../shared/redis/connect.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { patient, RedisServer } from '../../support/redis-server.js';
import { stall } from '../../support/stall.js';

const TIMEOUT_MS = 200;

describe('a connection with a command timeout', () => {
  const log = createLogger('test', 'silent');
  let lifecycle: Lifecycle;
  beforeEach(() => {
    lifecycle = new Lifecycle(log);
  });
  afterEach(() => lifecycle.close());

  const connect = async (
    url: string,
    autoPipelining: boolean,
  ): Promise<{ redis: Redis; lost: () => number }> => {
    const redis = connectRedis({
      ...{ url, name: 'stalls', log, lifecycle, autoPipelining },
      commandTimeoutMs: TIMEOUT_MS,
    });
    let lost = 0;
    redis.on('close', () => (lost += 1));
    await whenReady(redis, 5000);
    return { redis, lost: () => lost };
  };

  for (const autoPipelining of [false, true]) {
    it(`takes the reply that came while its process stalled, and stays (corked: ${autoPipelining})`, async () => {
      const { redis, lost } = await connect(testRedis().url, autoPipelining);
      const key = testNamespace();
      for (let round = 1; round <= 5; round++) {
        const sent = Array.from({ length: 20 }, () => redis.incr(key));
        const block = redis.multi().incr(key).get(key).exec();
        // Corked commands are written at the end of the turn.
        await new Promise((resolve) => setImmediate(resolve));
        stall(TIMEOUT_MS * 2);
        const counts = await Promise.all(sent);
        expect(counts).to.deep.equal(Array.from({ length: 20 }, (_, i) => (round - 1) * 21 + i + 1));
        expect(await block).to.deep.equal([
          [null, round * 21],
          [null, String(round * 21)],
        ]);
      }
      expect([lost(), redis.status]).to.deep.equal([0, 'ready']);
    });

    it(`writes first what a stall held back (corked: ${autoPipelining})`, async () => {
      const { redis } = await connect(testRedis().url, autoPipelining);
      const sent = redis.ping();
      stall(TIMEOUT_MS * 2);
      expect(await sent).to.equal('PONG');
    });
  }

  it('gives up a server that hangs, drops the connection, and finds it again', async () => {
    const server = await RedisServer.start();
    lifecycle.onClose('server', () => server.stop());
    const { redis, lost } = await connect(server.url, true);
    process.kill(server.pid, 'SIGSTOP');
    try {
      const began = performance.now();
      const error = await redis.ping().then(
        () => undefined,
        (reason: Error) => reason,
      );
      expect(error?.message).to.equal('Command timed out');
      expect(performance.now() - began).to.be.within(TIMEOUT_MS - 1, patient(TIMEOUT_MS * 5));
      await new Promise((resolve) => setImmediate(resolve));
      expect(lost()).to.be.at.most(1);
      expect(redis.status).not.to.equal('ready');
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await whenReady(redis, 5000);
    expect([await redis.ping(), lost()]).to.deep.equal(['PONG', 1]);
  });
});
