import { expect } from 'chai';
import { commands, kill, LauncherProcess } from '../../support/launcher/launcher-process.js';
import { until } from '../../support/redis-server.js';

const launcherItself = /node dist\/(test\/support|shared)\/launcher\/main\.js/;

describe('the launcher when it stops', function () {
  this.timeout(60_000);
  let launcher: LauncherProcess;
  afterEach(() => launcher.clean());

  it('ends the API first, then the workers, then the stores, and exits with 0', async () => {
    launcher = LauncherProcess.start(commands.standIns, { STAND_IN_API_LINGERS: '1' });
    const url = await launcher.ready();
    await launcher.workersRun();
    launcher.signal('SIGTERM');
    await launcher.says(/stand-in api is stopping/);
    // The API still answers a last request, and nothing else has been stopped.
    expect(launcher.pids(/stand-in-consumer/)).to.have.length(2);
    expect((await fetch(`${url}/finish`)).status).to.equal(200);
    expect(await launcher.ended()).to.equal(0);
    const steps = launcher.output.split('\n').filter((line) => /^(stopp|stand-in \w+ (is|ends))/.test(line));
    expect(steps).to.deep.equal([
      'stopping SIGTERM',
      'stand-in api is stopping',
      'stand-in api ends',
      'stopped  api',
      'stand-in worker ends: PONG',
      'stand-in worker ends: PONG',
      'stopped  workers',
      'stopped  postgres',
      'stopped  redis',
      'stopped  nothing is left running',
    ]);
    expect(launcher.processes).to.deep.equal([]);
  });

  it('kills a process that does not end, after a bounded time', async () => {
    launcher = LauncherProcess.start(commands.standIns, {
      STAND_IN_IS_DEAF: '1',
      SHUTDOWN_TIMEOUT_MS: '100',
    });
    await launcher.ready();
    await launcher.workersRun();
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    expect(launcher.output).to.include('worker 1 did not end within 1100 ms: SIGKILL\n');
    expect(launcher.processes).to.deep.equal([]);
  });

  it('gives the API SHUTDOWN_DELAY_MS more than that, because it goes on serving first', async () => {
    launcher = LauncherProcess.start(commands.standIns, {
      ...{ STAND_IN_API_LINGERS: '1', SHUTDOWN_TIMEOUT_MS: '100', SHUTDOWN_DELAY_MS: '900' },
    });
    await launcher.ready();
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    expect(launcher.output).to.match(/^api {6}did not end within 2000 ms: SIGKILL$/m);
    expect(launcher.processes).to.deep.equal([]);
  });

  it('kills everything at a second Ctrl-C', async () => {
    launcher = LauncherProcess.start(commands.standIns, { STAND_IN_IS_DEAF: '1' });
    await launcher.ready();
    await launcher.workersRun();
    await until(5000, 'the launcher ends', () => {
      if (launcher.exit === undefined) launcher.ctrlC();
      return launcher.exit !== undefined;
    });
    expect(await launcher.ended()).to.equal(130);
    await launcher.gone(8000);
  });

  it('stops in order when the signal comes while it starts', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.says(/^redis /m);
    launcher.signal('SIGINT');
    expect(await launcher.ended()).to.equal(0);
    expect(launcher.processes).to.deep.equal([]);
  });

  it('leaves nothing behind after kill -9, and the next launcher goes on with the data', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    const url = await launcher.ready();
    expect(await (await fetch(url, { method: 'POST' })).text()).to.equal('1');
    const letStoresEnd = launcher.killKeepingStores();
    const next = LauncherProcess.start(commands.standIns, {}, launcher.dataDir);
    await next.says(/is still ending/);
    letStoresEnd();
    const nextUrl = await next.ready();
    expect(next.output).to.match(
      /^(redis {4}|postgres )the one of the last run \(pid \d+\) is still ending/m,
    );
    expect(await (await fetch(nextUrl, { method: 'POST' })).text()).to.equal('2');
    next.signal('SIGKILL');
    await next.gone();
  });

  it('stops where its npm was gone before it began', async () => {
    // The shell, in the place of npm, is gone long before a Node is up.
    launcher = LauncherProcess.start(['sh', '-c', `${commands.standIns.join(' ')} &`]);
    await launcher.says(/^stopped {2}nothing is left running$/m, 30_000);
    expect(launcher.output).to.match(/^stopping npm is gone$/m);
    await launcher.gone();
  });

  it('outlives the shell that started it in the background', async () => {
    const command = `${commands.standIns.join(' ')} & wait`;
    launcher = LauncherProcess.start(['sh', '-c', command], { npm_lifecycle_event: '' });
    await launcher.ready();
    kill(launcher.pid);
    await until(5000, 'the shell is gone', () => !launcher.pids(/^sh -c node/).includes(launcher.pid));
    // Longer than the interval at which a launcher under npm looks for its parent.
    const [pid] = launcher.pids(launcherItself);
    const from = Date.now();
    await until(5000, 'time passes', () => Date.now() - from > 1200);
    expect(launcher.pids(launcherItself)).to.deep.equal([pid]);
    process.kill(pid!, 'SIGTERM');
    await launcher.gone();
  });
});
