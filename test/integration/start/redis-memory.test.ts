import { totalmem } from 'node:os';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { defaultMemoryMax } from '../../../shared/launcher/private-redis.js';
import { commands, LauncherProcess } from '../../support/launcher/launcher-process.js';
import { LoggedProcess } from '../../support/logged-process.js';
import { RedisServer } from '../../support/redis-server.js';

const lost =
  'Redis keeps nothing on disk: a restart of it loses what was accepted, decided and counted. Set appendonly yes.';

describe('the memory of Redis', function () {
  this.timeout(60_000);

  describe('of a private one', () => {
    let launcher: LauncherProcess;
    afterEach(() => launcher.clean());

    async function settingsWith(environment: Readonly<Record<string, string>>): Promise<unknown> {
      launcher = LauncherProcess.start(commands.standIns, environment);
      const [, url] = await launcher.says(/^redis {4}(redis:\S+)/m);
      const redis = new Redis(url!);
      try {
        return [
          ...((await redis.config('GET', 'maxmemory')) as string[]),
          ...((await redis.config('GET', 'maxmemory-policy')) as string[]),
        ];
      } finally {
        redis.disconnect();
      }
    }

    it('is bounded by half of what the machine has, and nothing is evicted', async () => {
      const memory = defaultMemoryMax();
      expect(memory).to.be.within(1, totalmem() / 2);
      expect(await settingsWith({})).to.deep.equal([
        ...['maxmemory', String(memory)],
        ...['maxmemory-policy', 'noeviction'],
      ]);
    });

    it('is bounded by REDIS_MEMORY_MAX where that is set', async () => {
      expect(await settingsWith({ REDIS_MEMORY_MAX: '96mb' })).to.deep.equal([
        ...['maxmemory', String(96 * 1024 * 1024)],
        ...['maxmemory-policy', 'noeviction'],
      ]);
    });
  });

  it('is half of what a container may use, where there is such a limit', () => {
    expect(defaultMemoryMax(8000, 2000)).to.equal(1000);
    // None is reported as 0, or as more than there is.
    expect([0, 2 ** 64, undefined].map((limit) => defaultMemoryMax(8001, limit as number))).to.deep.equal([
      4000, 4000, 4000,
    ]);
  });

  describe('of a given one', () => {
    let server: RedisServer;
    let worker: LoggedProcess;
    afterEach(async () => {
      await worker.end();
      await server.stop();
    });

    /** The warnings of a worker until it works. */
    async function warningsOn(...settings: string[]): Promise<readonly string[]> {
      server = await RedisServer.start(...settings);
      worker = LoggedProcess.start('consumer/main.js', { REDIS_URL: server.url });
      await worker.says('working');
      return worker.messages(40).filter((message) => message.startsWith('Redis'));
    }

    it('that keeps nothing on disk is warned of', async () => {
      expect(await warningsOn('--appendonly', 'no')).to.deep.equal([lost]);
    });

    it('that writes snapshots, or an append-only file, is not', async () => {
      expect(await warningsOn('--appendonly', 'no', '--save', '3600 1')).to.deep.equal([]);
      await worker.end();
      await server.stop();
      expect(await warningsOn()).to.deep.equal([]);
    });
  });
});
