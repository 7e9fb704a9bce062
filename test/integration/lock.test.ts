import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Registry } from 'prom-client';
import { Keys } from '../../shared/keys.js';
import { Lifecycle } from '../../shared/lifecycle.js';
import { type AcquireOptions, DistributedLock } from '../../shared/lock/distributed-lock.js';
import { LockLost, LockTimeout } from '../../shared/lock/lock-errors.js';
import { LockMetrics } from '../../shared/lock/lock-metrics.js';
import { createLogger } from '../../shared/logging.js';
import { connectRedis, whenReady } from '../../shared/redis/connect.js';
import { FaultyProxy } from '../support/faulty-proxy.js';
import { testNamespace, testRedis } from '../support/hooks.js';
import { patient, RedisServer, until } from '../support/redis-server.js';

const QUICK: AcquireOptions = { ttlMs: 10_000, waitMs: 10_000, retryMs: 2 };
const ONE_TRY: AcquireOptions = { ttlMs: 10_000, waitMs: 0, retryMs: 2 };

describe('distributed lock', () => {
  const log = createLogger('test-lock', 'silent');
  const registry = new Registry();
  const metrics = new LockMetrics(registry);
  let lifecycle: Lifecycle;
  let namespace: string;
  let keys: Keys;
  let redis: Redis;

  beforeEach(() => {
    lifecycle = new Lifecycle(log);
    namespace = testNamespace();
    keys = new Keys(namespace);
    redis = new Redis(testRedis().url);
    lifecycle.onClose('redis', () => redis.disconnect());
    registry.resetMetrics();
  });

  afterEach(() => lifecycle.close());

  /** A contender on a connection of its own. */
  async function contender(owner: string, url = testRedis().url): Promise<DistributedLock> {
    const connection = connectRedis({ url, name: owner, log, lifecycle, commandTimeoutMs: 1000 });
    await whenReady(connection, 5000);
    return new DistributedLock({ redis: connection, keys, owner, metrics });
  }

  async function counted(metric: string, name: string): Promise<number> {
    const values = (await registry.getSingleMetric(metric)!.get()).values;
    return values.find(({ labels }) => labels['name'] === name)?.value ?? 0;
  }

  const timedOut = (error: unknown) => error;

  it('lets one in at a time: a counter that is read and written back stays exact under contention', async () => {
    const contenders = await Promise.all(Array.from({ length: 8 }, (_, i) => contender(`c${i}`)));
    const tokens: number[] = [];
    const addTo = async (lock: DistributedLock): Promise<void> => {
      for (let i = 0; i < 25; i += 1) {
        await lock.run('counter', QUICK, async (signal, token) => {
          const before = Number((await redis.get(`${namespace}:counter`)) ?? 0);
          tokens.push(token);
          await redis.set(`${namespace}:counter`, before + 1);
          expect(signal.aborted).to.equal(false);
        });
      }
    };
    await Promise.all(contenders.map(addTo));
    expect(await redis.get(`${namespace}:counter`)).to.equal('200');
    expect(tokens).to.deep.equal(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(await counted('weir_lock_acquired_total', 'counter')).to.equal(200);
    expect(await counted('weir_lock_lost_total', 'counter')).to.equal(0);
    expect(await redis.exists(keys.lock('counter').lease)).to.equal(0);
  });

  it('keeps names apart', async () => {
    const lock = await contender('a');
    const one = await lock.acquire('one', ONE_TRY);
    const two = await lock.acquire('two', ONE_TRY);
    expect([one.fencingToken, two.fencingToken]).to.deep.equal([1, 1]);
    await Promise.all([one.release(), two.release()]);
  });

  it('gives up after waitMs, and says how long it waited', async () => {
    const [a, b] = [await contender('a'), await contender('b')];
    const held = await a.acquire('busy', QUICK);
    const begun = performance.now();
    const error = await b.acquire('busy', { ...QUICK, waitMs: 150 }).catch(timedOut);
    const waited = performance.now() - begun;
    expect(error).to.be.instanceOf(LockTimeout);
    expect((error as LockTimeout).waitedMs).to.be.within(149, waited);
    expect(waited).to.be.below(patient(1000));
    expect(await counted('weir_lock_timeouts_total', 'busy')).to.equal(1);
    expect(await counted('weir_lock_contended_total', 'busy')).to.equal(1);
    await held.release();
  });

  it('tries once with waitMs 0', async () => {
    const [a, b] = [await contender('a'), await contender('b')];
    const held = await a.acquire('busy', QUICK);
    expect(await b.acquire('busy', ONE_TRY).catch(timedOut)).to.be.instanceOf(LockTimeout);
    await held.release();
    const next = await b.acquire('busy', ONE_TRY);
    expect(next.fencingToken).to.equal(2);
    await next.release();
  });

  it('stops waiting when it is told to', async () => {
    const [a, b] = [await contender('a'), await contender('b')];
    const held = await a.acquire('busy', QUICK);
    const stop = new AbortController();
    const waiting = b.acquire('busy', { ...QUICK, signal: stop.signal }).catch(timedOut);
    await until(5000, 'it has tried', async () => (await counted('weir_lock_contended_total', 'busy')) === 1);
    stop.abort(new Error('stop'));
    expect(await waiting).to.have.property('message', 'stop');
    await held.release();
  });

  it('stays held far beyond its TTL while its holder lives', async () => {
    const [a, b] = [await contender('a'), await contender('b')];
    const held = await a.acquire('long', { ...QUICK, ttlMs: 1000 });
    const error = await b.acquire('long', { ...QUICK, waitMs: 2500 }).catch(timedOut);
    expect(error).to.be.instanceOf(LockTimeout);
    expect(held.signal.aborted).to.equal(false);
    expect(held.remainingMs).to.be.within(1, 900);
    await held.release();
    expect(held.remainingMs).to.equal(0);
  });

  it('tells its holder, by a signal, when somebody deleted the key', async () => {
    const lock = await contender('a');
    const held = await lock.acquire('gone', { ...QUICK, ttlMs: 300 });
    await redis.del(keys.lock('gone').lease);
    await until(2000, 'the signal is aborted', () => held.signal.aborted);
    expect(held.signal.reason).to.be.instanceOf(LockLost);
    expect(held.remainingMs).to.equal(0);
    expect(await counted('weir_lock_lost_total', 'gone')).to.equal(1);
    await held.release();
    expect(await counted('weir_lock_lost_total', 'gone')).to.equal(1);
  });

  it('never prolongs or deletes the lock of another holder', async () => {
    const [a, b] = [await contender('a'), await contender('b')];
    const old = await a.acquire('taken', { ...QUICK, ttlMs: 400 });
    await redis.del(keys.lock('taken').lease);
    const now = await b.acquire('taken', { ...QUICK, ttlMs: 10_000 });
    await until(2000, 'the old holder knows', () => old.signal.aborted);
    await old.release();
    expect(now.signal.aborted).to.equal(false);
    expect(await redis.get(keys.lock('taken').lease)).to.match(/^b:2:[0-9a-f]{24}$/);
    expect(now.fencingToken).to.equal(2);
    await now.release();
  });

  it('considers itself lost before the TTL runs out when Redis does not answer', async () => {
    const server = await RedisServer.start();
    lifecycle.onClose('server', () => server.stop());
    const lock = await contender('a', server.url);
    const ttlMs = 2000;
    const askedAt = performance.now();
    // Timers of one process fire in their order, however late: this one at the earliest when the lease runs out.
    const ranOut = sleep(ttlMs, 'the lease ran out');
    const held = await lock.acquire('hung', { ...QUICK, ttlMs });
    const lost = new Promise<string>((resolve) => {
      held.signal.addEventListener('abort', () => resolve('lost'));
    });
    process.kill(server.pid, 'SIGSTOP');
    try {
      expect(await Promise.race([lost, ranOut])).to.equal('lost');
      expect(performance.now() - askedAt).to.be.at.least(ttlMs * 0.85);
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await held.release();
  });

  it('survives a Redis that is away for less than the TTL', async () => {
    const server = await RedisServer.start();
    lifecycle.onClose('server', () => server.stop());
    const lock = await contender('a', server.url);
    const held = await lock.acquire('back', { ...QUICK, ttlMs: 6000 });
    await server.restart();
    const first = held.remainingMs;
    await until(5000, 'it was renewed', () => held.remainingMs > first);
    expect(held.signal.aborted).to.equal(false);
    await held.release();
  });

  it('`run` fails when the lock was lost before the work ended', async () => {
    const lock = await contender('a');
    const work = async (signal: AbortSignal): Promise<string> => {
      await redis.del(keys.lock('work').lease);
      await until(2000, 'the signal is aborted', () => signal.aborted);
      return 'done';
    };
    const error = await lock.run('work', { ...QUICK, ttlMs: 300 }, work).catch(timedOut);
    expect(error).to.be.instanceOf(LockLost);
  });

  it('`run` releases the lock when the work fails', async () => {
    const lock = await contender('a');
    const error = await lock
      .run('fails', QUICK, () => Promise.reject(new Error('the work failed')))
      .catch(timedOut);
    expect(error).to.have.property('message', 'the work failed');
    expect(await redis.exists(keys.lock('fails').lease)).to.equal(0);
  });

  it('waits until Redis is back, and times out with the reason where it does not come', async () => {
    const server = await RedisServer.start();
    lifecycle.onClose('server', () => server.stop());
    const lock = await contender('a', server.url);
    await server.down();
    const error = await lock.acquire('away', { ...QUICK, waitMs: 200 }).catch(timedOut);
    expect(error).to.be.instanceOf(LockTimeout);
    expect((error as LockTimeout).cause).to.be.instanceOf(Error);
    const waiting = lock.acquire('away', QUICK);
    await server.up();
    await (await waiting).release();
  });

  it('knows the lock as its own when the reply to its first request was lost', async () => {
    const proxy = await FaultyProxy.start(testRedis().url);
    lifecycle.onClose('proxy', () => proxy.close());
    const lock = await contender('a', proxy.url);
    proxy.swallowNextReply('*2\r\n:1\r\n:1\r\n');
    const held = await lock.acquire('lost-reply', QUICK);
    expect(proxy.swallowed).to.equal(1);
    expect(held.fencingToken).to.equal(1);
    await held.release();
    expect(await redis.exists(keys.lock('lost-reply').lease)).to.equal(0);
  });

  it('is free a TTL after its holder was killed, not before, and the next token is greater', async () => {
    const ttlMs = 700;
    const { child, token } = await holder('killed', ttlMs);
    const lock = await contender('b');
    expect(await lock.acquire('killed', ONE_TRY).catch(timedOut)).to.be.instanceOf(LockTimeout);
    child.kill('SIGKILL');
    // Before we look how long the lease still lasts, so that it does not end sooner after it.
    const killedAt = performance.now();
    const leftMs = await redis.pttl(keys.lock('killed').lease);
    // A long retry: the remaining TTL that Redis tells is what wakes the waiter.
    const held = await lock.acquire('killed', { ttlMs: 5000, waitMs: 10_000, retryMs: 400 });
    const waitedMs = performance.now() - killedAt;
    expect(waitedMs).to.be.within(leftMs - 1, patient(leftMs + 1500));
    expect([token, held.fencingToken]).to.deep.equal([1, 2]);
    await held.release();
  });

  it('a holder that was stopped and resumed learns that it lost the lock; its token is the lesser one', async () => {
    const { child, token } = await holder('stopped', 400);
    child.kill('SIGSTOP');
    const lock = await contender('b');
    const held = await lock.acquire('stopped', { ttlMs: 5000, waitMs: 10_000, retryMs: 10 });
    const lost = new Promise((resolve) => child.once('message', resolve));
    child.kill('SIGCONT');
    expect(await lost).to.deep.equal({ lost: true });
    expect(held.fencingToken).to.be.greaterThan(token);
    expect(held.signal.aborted).to.equal(false);
    await held.release();
  });

  /** A process that holds a lock. */
  async function holder(name: string, ttlMs: number): Promise<{ child: ChildProcess; token: number }> {
    const module = fileURLToPath(new URL('../support/lock-holder.js', import.meta.url));
    const child = fork(module, [testRedis().url, namespace, name, String(ttlMs)], {
      env: { PATH: process.env['PATH'] },
    });
    lifecycle.onClose('holder', () => void child.kill('SIGKILL'));
    const token = await new Promise<number>((resolve, reject) => {
      child.once('message', (message) => resolve((message as { token: number }).token));
      child.once('exit', (code) => reject(new Error(`the holder ended: ${code}`)));
    });
    return { child, token };
  }
});
