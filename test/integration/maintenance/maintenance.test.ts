import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import pg from 'pg';
import { FleetSchedule, type FleetTask } from '../../../consumer/maintenance/fleet-schedule.js';
import { partitionsAhead } from '../../../consumer/maintenance/partitions-ahead.js';
import { ledgerRetention, retention } from '../../../consumer/maintenance/retention.js';
import { Keys } from '../../../shared/keys.js';
import { Lifecycle } from '../../../shared/lifecycle.js';
import { DistributedLock } from '../../../shared/lock/distributed-lock.js';
import { createLogger } from '../../../shared/logging.js';
import { connectPostgres } from '../../../shared/postgres/connect.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { patient, RedisServer, until } from '../../support/redis-server.js';
import { ArchiveUnderTest } from '../archive/archive-under-test.js';

const DAY_MS = 86_400_000;
const log = createLogger('test-maintenance', 'silent');

describe('maintenance of a fleet', () => {
  let lifecycle: Lifecycle;
  let keys: Keys;
  let redis: Redis;

  beforeEach(() => {
    lifecycle = new Lifecycle(log);
    keys = new Keys(testNamespace());
    redis = new Redis(testRedis().url);
    lifecycle.onClose('redis', () => redis.disconnect());
  });

  afterEach(() => lifecycle.close());

  function schedule(owner: string, tasks: readonly FleetTask[], connection = redis): FleetSchedule {
    const lock = new DistributedLock({ redis: connection, keys, owner });
    const made = new FleetSchedule({ redis: connection, keys, lock, log });
    lifecycle.onClose(owner, () => made.close());
    made.start(tasks);
    return made;
  }

  it('does a task once in its interval, however many workers there are, and never twice at a time', async () => {
    const times: number[] = [];
    let running = 0;
    let together = 0;
    const task: FleetTask = {
      name: 'task',
      intervalMs: 400,
      async run() {
        times.push(performance.now());
        running += 1;
        together = Math.max(together, running);
        await new Promise((resolve) => setTimeout(resolve, 50));
        running -= 1;
        return {};
      },
    };
    for (const owner of ['a', 'b', 'c']) schedule(owner, [task]);
    await until(10_000, 'it has run five times', () => times.length === 5);
    expect(together).to.equal(1);
    for (const [i, time] of times.entries()) {
      if (i > 0) expect(time - times[i - 1]!).to.be.greaterThan(390);
    }
  });

  it('goes on after failures, and keeps other tasks going', async () => {
    const ran = { failing: 0, other: 0 };
    const failing: FleetTask = {
      name: 'failing',
      intervalMs: 50,
      run: () => {
        ran.failing += 1;
        return Promise.reject(new Error('no luck'));
      },
    };
    const other: FleetTask = {
      name: 'other',
      intervalMs: 50,
      run: () => {
        ran.other += 1;
        return Promise.resolve({});
      },
    };
    schedule('a', [failing, other]);
    await until(10_000, 'both have run', () => ran.failing >= 3 && ran.other >= 3);
  });

  it('tells a task that its lock is lost', async () => {
    let signal: AbortSignal | undefined;
    const task: FleetTask = {
      name: 'long',
      intervalMs: 60_000,
      run: (given) => {
        signal = given;
        return new Promise((_, reject) => given.addEventListener('abort', () => reject(given.reason)));
      },
    };
    schedule('a', [task]);
    await until(5000, 'it runs', () => signal !== undefined);
    await redis.del(keys.lock('long').lease);
    await until(15_000, 'the task is told', () => signal!.aborted);
    expect(signal!.reason).to.have.property('name', 'LockLost');
  });

  it('ends a task that runs when the worker ends, and frees its lock', async () => {
    let runs = 0;
    const task: FleetTask = {
      name: 'long',
      intervalMs: 60_000,
      run: (signal) => {
        runs += 1;
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      },
    };
    const worker = schedule('a', [task]);
    await until(5000, 'it runs', () => runs === 1);
    await worker.close();
    expect(await redis.exists(keys.lock('long').lease)).to.equal(0);
  });

  it('does not wait for a task that does not heed its signal', async () => {
    let running = false;
    const task: FleetTask = {
      name: 'deaf',
      intervalMs: 60_000,
      run: () => {
        running = true;
        return new Promise(() => undefined);
      },
    };
    const worker = schedule('a', [task]);
    await until(5000, 'it runs', () => running);
    const begunAt = performance.now();
    await worker.close();
    expect(performance.now() - begunAt).to.be.within(900, patient(2500));
  });

  it('waits for a Redis that is away', async () => {
    const server = await RedisServer.start();
    lifecycle.onClose('server', () => server.stop());
    const connection = new Redis(server.url, { enableOfflineQueue: false, maxRetriesPerRequest: 0 });
    connection.on('error', () => undefined);
    lifecycle.onClose('connection', () => connection.disconnect());
    let runs = 0;
    const task: FleetTask = {
      name: 'task',
      intervalMs: 300,
      run: () => {
        runs += 1;
        return Promise.resolve({});
      },
    };
    await server.down();
    schedule('a', [task], connection);
    await server.up();
    await until(10_000, 'it runs', () => runs > 0);
  });

  describe('in Postgres', () => {
    let postgres: ArchiveUnderTest;
    let pool: pg.Pool;

    beforeEach(async () => {
      postgres = await ArchiveUnderTest.start();
      pool = postgres.sinkPool();
    });

    afterEach(() => postgres.close());

    const day = (offset: number): string =>
      new Date(Date.now() + offset * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
    const partitions = async (table = 'usage_events'): Promise<string[]> => {
      const rows = await postgres.query<{ name: string }>(
        `SELECT relname AS name FROM pg_class WHERE relname ~ ('^' || $1 || '_[0-9]{8}$') ORDER BY relname`,
        [table],
      );
      return rows.map(({ name }) => name.slice(-8));
    };
    const ensure = (offset: number) =>
      postgres.query(
        `SELECT ensure_usage_partition(day), ensure_ledger_partition(day)
         FROM (SELECT (now() AT TIME ZONE 'UTC')::date + $1::integer AS day) AS days`,
        [offset],
      );
    const { signal } = new AbortController();

    it('makes the partitions of yesterday and the coming days', async () => {
      await partitionsAhead(pool).run(signal);
      expect(await partitions()).to.deep.equal([-1, 0, 1, 2, 3].map(day));
      expect(await partitions('budget_ledger')).to.deep.equal([-1, 0, 1, 2, 3].map(day));
    });

    it('drops old days of the ledger and notes it, leaving usage alone', async () => {
      for (const offset of [-12, -11]) await ensure(offset);
      expect(await ledgerRetention(pool, 10).run(signal)).to.deep.equal({ droppedPartitions: 1 });
      expect(await partitions('budget_ledger')).to.deep.equal([-11, 0, 1, 2].map(day));
      expect(await partitions()).to.deep.equal([-12, -11, 0, 1, 2].map(day));
      const midnight = Math.floor(Date.now() / DAY_MS) * DAY_MS;
      const [noted, ...others] = await postgres.query('SELECT * FROM sink_positions');
      expect(others).to.deep.equal([]);
      expect(noted).to.include({
        ...{ sink: 'retention', stream: 'admissions', stream_position: `${midnight - 11 * DAY_MS}-0` },
      });
    });

    for (const name of ['partitions-ahead', 'retention']) {
      it(`${name} lets a worker end while Postgres gives no answer`, async () => {
        const task = name === 'retention' ? retention(pool, 10) : partitionsAhead(pool);
        const holder = new pg.Client({ connectionString: postgres.url });
        await holder.connect();
        try {
          // The statement waits for this lock, as for a server that hangs.
          await holder.query(`SELECT pg_advisory_lock(hashtext('weir.days.usage_events'))`);
          const waiting = () =>
            holder.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database =
              (SELECT oid FROM pg_database WHERE datname = current_database())`);
          const worker = schedule('a', [task]);
          await until(10_000, 'it waits', async () => (await waiting()).rowCount! > 0);
          const begunAt = performance.now();
          await worker.close();
          expect(performance.now() - begunAt).to.be.lessThan(patient(500));
          expect(await redis.exists(keys.lock(name).lease)).to.equal(0);
        } finally {
          await holder.end();
        }
      });
    }

    it('lets a worker end while Postgres does not even greet', async () => {
      const silent = createServer().listen(0, '127.0.0.1');
      await once(silent, 'listening');
      const { port } = silent.address() as AddressInfo;
      const url = `postgres://weir:x@127.0.0.1:${port}/weir`;
      const hanging = connectPostgres({ url, name: 'test', log, poolMax: 1, connectTimeoutMs: 10_000 });
      const sockets: Socket[] = [];
      silent.on('connection', (socket) => sockets.push(socket));
      try {
        const worker = schedule('a', [partitionsAhead(hanging)]);
        await until(5000, 'it connects', () => sockets.length > 0);
        const begunAt = performance.now();
        await worker.close();
        expect(performance.now() - begunAt).to.be.lessThan(patient(500));
      } finally {
        for (const socket of sockets) socket.destroy();
        silent.close();
        await hanging.end();
      }
    });

    it('drops only days that are over the retention by a whole day, and notes from when events are kept', async () => {
      for (const offset of [-40, -12, -11, -10, -1]) await ensure(offset);
      const noted = () => postgres.query('SELECT * FROM sink_positions');
      expect(await retention(pool, 10).run(signal)).to.deep.equal({ droppedPartitions: 2 });
      expect(await partitions()).to.deep.equal([-11, -10, -1, 0, 1, 2].map(day));
      const [position] = await noted();
      const midnight = Math.floor(Date.now() / DAY_MS) * DAY_MS;
      expect(position).to.include({
        ...{ sink: 'retention', stream: 'usage', stream_position: `${midnight - 11 * DAY_MS}-0` },
      });
      expect(await retention(pool, 10).run(signal)).to.deep.equal({ droppedPartitions: 0 });
      expect(await retention(pool, 3).run(signal)).to.deep.equal({ droppedPartitions: 2 });
      expect((await noted())[0]).to.include({ stream_position: `${midnight - 4 * DAY_MS}-0` });
      // Longer again: what is gone is gone.
      await ensure(-40);
      expect(await retention(pool, 20).run(signal)).to.deep.equal({ droppedPartitions: 1 });
      expect((await noted())[0]).to.include({ stream_position: `${midnight - 4 * DAY_MS}-0` });
    });
  });
});
