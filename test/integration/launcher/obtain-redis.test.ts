import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
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

  it('is installed once where several want it at a time', async () => {
    const bin = join(folder, 'bin');
    const script = join(folder, 'install-redis.sh');
    const text = readFileSync('shared/launcher/install-redis.sh', 'utf8');
    writeFileSync(script, text.replace('/usr/sbin/policy-rc.d', join(folder, 'policy')));
    // As apt-get: an update beside another fails at once, and without its lists nothing is found.
    const apt = `#!/bin/sh
      cd ${folder}
      case "$*" in
        *update) mkdir lock || exit 100; sleep 0.3; touch lists; rmdir lock ;;
        *) [ -e lists ] || exit 100; echo installed >>log; cp "$0" ${bin}/redis-server ;;
      esac`;
    writeFileSync(join(bin, 'apt-get'), apt, { mode: 0o755 });
    for (const name of ['sh', 'flock', 'mkdir', 'rmdir', 'sleep', 'touch', 'cp', 'chmod', 'rm']) {
      const found = PATH!
        .split(':')
        .map((path) => join(path, name))
        .find((path) => existsSync(path));
      symlinkSync(found!, join(bin, name));
    }
    const install = () => promisify(execFile)('sh', [script]);
    await Promise.all([install(), install(), install()]);
    expect(readFileSync(join(folder, 'log'), 'utf8')).to.equal('installed\n');
  });
});
