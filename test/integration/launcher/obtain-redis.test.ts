import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { obtainRedis } from '../../../shared/launcher/obtain-redis.js';
import { ProcessGroups } from '../../../shared/launcher/process-groups.js';
import { newDataDir } from '../../support/launcher/launcher-process.js';
import { RedisServer } from '../../support/redis-server.js';

describe('the Redis of the tests', () => {
  const { PATH } = process.env;
  let folder: string;
  let server: RedisServer | undefined;

  beforeEach(async () => {
    folder = newDataDir();
    mkdirSync(join(folder, 'bin'));
    const program = await obtainRedis('.', new ProcessGroups(), () => undefined);
    symlinkSync(program, join(folder, 'bin', 'valkey-server'));
    process.env['PATH'] = join(folder, 'bin');
  });

  afterEach(async () => {
    process.env['PATH'] = PATH;
    await server?.stop();
    rmSync(folder, { recursive: true });
  });

  it('is obtained as npm start obtains it: a machine that has Valkey alone will do', async () => {
    server = await RedisServer.start();
    expect(server.pid).to.be.greaterThan(0);
  });
});
