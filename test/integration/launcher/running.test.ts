import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { testPostgres, testRedis } from '../../support/hooks.js';
import { commands, kill, LauncherProcess } from '../../support/launcher/launcher-process.js';
import { until } from '../../support/redis-server.js';

const workers = /stand-in-consumer/;
const api = /stand-in-api/;
const redis = /^\S*redis-server/;

describe('the launcher while it runs', function () {
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

  const post = async (url: string): Promise<string> => (await fetch(url, { method: 'POST' })).text();

  it('says each component with its address, then that it is ready', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    const url = await launcher.ready();
    const port = readFileSync(join(launcher.dataDir, 'redis', 'port'), 'utf8').trim();
    const [first, second] = launcher.pids(workers);
    expect(launcher.output).to.include(
      `redis    redis://127.0.0.1:${port}  (private, data in ${launcher.dataDir}/redis)\n`,
    );
    expect(launcher.output).to.match(/^worker 1 pid \d+\nworker 2 pid \d+$/m);
    expect(launcher.output).to.include(`pid ${first}\n`).and.to.include(`pid ${second}\n`);
    expect(launcher.output).to.include(`api      ${url}  (loopback only: there are no API keys yet)\n`);
  });

  it('runs WORKERS workers, the only processes with `consumer` in their command line', async () => {
    launcher = start({ WORKERS: '3' });
    await launcher.ready();
    expect(launcher.pids(/consumer/)).to.have.length(3);
    expect(launcher.pids(workers)).to.have.length(3);
  });

  it('runs without workers when WORKERS is 0', async () => {
    launcher = start({ WORKERS: '0' });
    await launcher.ready();
    expect(launcher.pids(workers)).to.deep.equal([]);
  });

  it('replaces a worker that was killed', async () => {
    launcher = start({ WORKERS: '1' });
    await launcher.ready();
    const [killed] = launcher.pids(workers);
    kill(killed!);
    await launcher.says(/worker 1 ended \(killed by SIGKILL\); starts again in 100 ms/);
    await until(5000, 'another worker', () => launcher.pids(workers).some((pid) => pid !== killed));
    expect(launcher.pids(workers)).to.have.length(1);
  });

  it('waits longer before each restart, up to 2 s', async () => {
    launcher = start({ WORKERS: '1' });
    await launcher.ready();
    for (const ms of [100, 200, 400, 800, 1600, 2000, 2000]) {
      await until(5000, 'a worker', () => launcher.pids(workers).length === 1);
      launcher.output = '';
      kill(launcher.pids(workers)[0]!);
      await launcher.says(new RegExp(`worker 1 ended .*; starts again in ${ms} ms`));
    }
  });

  it('replaces an API that was killed, on the same port', async () => {
    launcher = start();
    const url = await launcher.ready();
    kill(launcher.pids(api)[0]!);
    await launcher.says(/api {6}ended \(killed by SIGKILL\)/);
    await until(10_000, 'the API answers', async () => (await fetch(`${url}/ready`)).status === 200);
  });

  it('replaces a Redis that was killed, with its data and on the same port', async () => {
    launcher = start();
    const url = await launcher.ready();
    expect(await post(url)).to.equal('1');
    const [killed] = launcher.pids(redis);
    kill(killed!);
    await launcher.says(/redis {4}ended \(killed by SIGKILL\)/);
    await until(10_000, 'Redis is back', async () => (await fetch(`${url}/ready`)).status === 200);
    expect(launcher.pids(redis)).to.have.length(1).and.not.include(killed);
    expect(await post(url)).to.equal('2');
  });

  it('keeps data and the port of Redis over a restart', async () => {
    launcher = start();
    expect(await post(await launcher.ready())).to.equal('1');
    const [before] = await launcher.says(/redis:\S+/);
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    launcher = start({}, launcher.dataDir);
    expect(await post(await launcher.ready())).to.equal('2');
    expect((await launcher.says(/redis:\S+/))[0]).to.equal(before);
  });

  it('takes another port when the one of the last run is in use', async () => {
    launcher = start();
    expect(await post(await launcher.ready())).to.equal('1');
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    const port = Number((await launcher.says(/(?<=redis:\/\/127\.0\.0\.1:)\d+/))[0]);
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve));
    try {
      launcher = start({}, launcher.dataDir);
      expect(await post(await launcher.ready())).to.equal('2');
      const used = readFileSync(join(launcher.dataDir, 'redis', 'port'), 'utf8').trim();
      expect(launcher.output).to.include(`redis://127.0.0.1:${used} `);
      expect(Number(used)).to.not.equal(port);
    } finally {
      await new Promise((resolve) => taken.close(resolve));
    }
  });

  it('runs no stores of its own when they are given, and lets several launchers share them', async () => {
    const { url, port } = testRedis();
    const DATABASE_URL = await (await testPostgres()).createDatabase();
    launcher = LauncherProcess.start(commands.standIns, { REDIS_URL: url, DATABASE_URL });
    await launcher.ready();
    const second = LauncherProcess.start(
      commands.standIns,
      { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(port), DATABASE_URL },
      launcher.dataDir,
    );
    await second.ready();
    expect(launcher.output).to.include(`redis    ${url}  (given by REDIS_URL or REDIS_HOST)\n`);
    const shown = DATABASE_URL.replace(/\/\/.*@/, '//');
    expect(launcher.output).to.include(`postgres ${shown}  (given by DATABASE_URL)\n`);
    expect(launcher.pids(/redis|postgres/)).to.deep.equal([]);
    for (const one of [launcher, second]) one.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    expect(await second.ended()).to.equal(0);
  });
});
