import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { testPostgres } from '../../support/hooks.js';
import { commands, LauncherProcess, newDataDir } from '../../support/launcher/launcher-process.js';
import { freePort, RedisServer } from '../../support/redis-server.js';

describe('the launcher when it cannot run', function () {
  this.timeout(60_000);
  let launcher: LauncherProcess;
  afterEach(() => launcher.clean());

  let DATABASE_URL: string;
  before(async () => {
    DATABASE_URL = await (await testPostgres()).createDatabase();
  });
  /** With a Postgres that is given: to make one takes most of a start, and these tests are not about it. */
  const start = (environment: Readonly<Record<string, string>> = {}, dataDir?: string): LauncherProcess =>
    LauncherProcess.start(commands.standIns, { DATABASE_URL, ...environment }, dataDir);

  it('lists all defects of the configuration and exits with 1', async () => {
    launcher = LauncherProcess.start(commands.standIns, {
      WORKERS: '-1',
      PORT: 'eighty',
      REDIS_URL: 'http://user:hunter2@localhost',
    });
    expect(await launcher.ended()).to.equal(1);
    expect(launcher.output).to.match(/^error {4}configuration:\n/);
    for (const name of ['WORKERS', 'PORT', 'REDIS_URL']) {
      expect(launcher.output).to.match(new RegExp(`^ {2}${name}: \\S`, 'm'));
    }
    expect(launcher.output).to.not.include('hunter2');
    expect(launcher.output).to.not.match(/ at .*\.js/);
  });

  it('refuses a data folder that another launcher uses, and leaves that one alone', async () => {
    launcher = start();
    const url = await launcher.ready();
    const second = start({}, launcher.dataDir);
    expect(await second.ended()).to.equal(1);
    expect(second.output).to.equal(
      `error    another launcher (pid ${launcher.pid}) already runs on ${launcher.dataDir}: ` +
        'stop it, or set WEIR_DATA_DIR to another folder\n' +
        'stopped  nothing is left running\n',
    );
    expect((await fetch(`${url}/ready`)).status).to.equal(200);
  });

  it('takes over the lock of a launcher that is gone, even if its pid belongs to another program', async () => {
    const dataDir = newDataDir();
    writeFileSync(join(dataDir, 'launcher.pid'), '1\n');
    launcher = start({}, dataDir);
    await launcher.ready();
  });

  it('takes over the lock of a launcher whose pid belongs to a program that only names one', async () => {
    const dataDir = newDataDir();
    const editor = spawn('tail', ['-f', 'shared/launcher/main.ts'], { stdio: 'ignore' });
    try {
      writeFileSync(join(dataDir, 'launcher.pid'), `${editor.pid}\n`);
      launcher = start({}, dataDir);
      await launcher.ready();
    } finally {
      editor.kill();
    }
  });

  it('takes over the lock of a launcher whose pid belongs to a launcher that began later', async () => {
    const other = start();
    const dataDir = newDataDir();
    try {
      await other.says(/^redis /m);
      const [pid, began] = readFileSync(join(other.dataDir, 'launcher.pid'), 'utf8').trim().split(' ');
      expect(pid).to.equal(String(other.pid));
      writeFileSync(join(dataDir, 'launcher.pid'), `${pid} ${Number(began) - 1}\n`);
      launcher = start({}, dataDir);
      await launcher.ready();
    } finally {
      await other.clean();
    }
  });

  it('says which store never came, after STORE_WAIT_SECONDS', async () => {
    const port = await freePort();
    launcher = LauncherProcess.start(commands.standIns, {
      REDIS_URL: `redis://:hunter2@127.0.0.1:${port}`,
      DATABASE_URL: `postgres://a:hunter2@127.0.0.1:${port}/x`,
      STORE_WAIT_SECONDS: '1',
    });
    expect(await launcher.ended()).to.equal(1);
    expect(launcher.output).to.match(
      /^error {4}(redis|postgres):\/\/127\.0\.0\.1:\d+\S* did not answer within 1 s \(STORE_WAIT_SECONDS\): .*ECONNREFUSED.*\nstopped {2}nothing is left running\n$/,
    );
    expect(launcher.output).to.not.include('hunter2');
  });

  it('says that the port of the API is in use before it starts anything', async () => {
    const port = await freePort();
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve));
    try {
      launcher = LauncherProcess.start(commands.standIns, { PORT: String(port) });
      expect(await launcher.ended()).to.equal(1);
    } finally {
      await new Promise((resolve) => taken.close(resolve));
    }
    expect(launcher.output).to.match(new RegExp(`^error {4}port ${port} on 127\\.0\\.0\\.1 is in use`));
    expect(launcher.output).to.not.include('redis ');
    expect(launcher.processes).to.deep.equal([]);
  });

  it('stops everything when the API exits three times without ever having listened', async () => {
    launcher = start({ STAND_IN_API_FAILS: '1' });
    expect(await launcher.ended()).to.equal(1);
    expect(launcher.output).to.include('error    the API does not start (exit code 3, 3 times)');
    expect(launcher.processes).to.deep.equal([]);
  });

  it('says how to install Redis where it may not do so itself', async () => {
    const dataDir = newDataDir();
    const path = join(dataDir, 'bin');
    mkdirSync(path);
    symlinkSync(process.execPath, join(path, 'node'));
    launcher = LauncherProcess.start(commands.standIns, { PATH: path }, dataDir);
    expect(await launcher.ended()).to.equal(1);
    expect(launcher.output).to.match(
      /^error {4}no redis-server or valkey-server on PATH\. Install it with\n {2}\S.*\nor set REDIS_URL/,
    );
  });

  it('shows the end of the log of a Redis that does not start', async () => {
    const dataDir = newDataDir();
    mkdirSync(join(dataDir, 'redis', 'appendonlydir'), { recursive: true });
    writeFileSync(join(dataDir, 'redis', 'appendonlydir', 'appendonly.aof.manifest'), 'file broken\n');
    launcher = LauncherProcess.start(commands.standIns, {}, dataDir);
    expect(await launcher.ended()).to.equal(1);
    expect(launcher.output).to.include('error    Redis does not start (exit code 1). The end of');
    expect(launcher.output).to.match(/manifest/);
    expect(launcher.processes).to.deep.equal([]);
  });

  it('says that a given Redis wants a password, without showing the one it was given', async () => {
    const server = await RedisServer.start();
    try {
      const admin = new Redis(server.url);
      await admin.config('SET', 'requirepass', 'correct');
      admin.disconnect();
      launcher = LauncherProcess.start(commands.standIns, {
        REDIS_URL: `redis://:hunter2@127.0.0.1:${server.port}`,
      });
      expect(await launcher.ended()).to.equal(1);
    } finally {
      await server.stop();
    }
    expect(launcher.output).to.match(/^error {4}redis:\/\/127\.0\.0\.1:\d+ refuses us: WRONGPASS/);
    expect(launcher.output).to.not.include('hunter2');
  });
});
