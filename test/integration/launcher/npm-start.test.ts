import { stripVTControlCharacters } from 'node:util';
import { expect } from 'chai';
import { commands, kill, LauncherProcess } from '../../support/launcher/launcher-process.js';
import { until } from '../../support/redis-server.js';

const launcherItself = /^\S*node dist\/shared\/launcher\/main\.js/;
const api = /dist\/api\/main\.js/;
const worker = /consumer/;
const redis = /^\S*redis-server/;

describe('npm start', function () {
  this.timeout(90_000);
  let launcher: LauncherProcess;
  afterEach(() => launcher.clean());

  const canMessage = async (url: string): Promise<unknown> =>
    (await fetch(`${url}/canmessage?user_id=u1`)).json();
  const flag = (url: string): Promise<Response> =>
    fetch(`${url}/event`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"name":"scam_message_flagged","event_properties":{"user_id":"u1"}}',
    });

  it('brings up a service that decides, and that a Ctrl-C takes down without a trace', async () => {
    launcher = LauncherProcess.start(commands.npmStart);
    const url = await launcher.ready();
    expect(launcher.pids(worker)).to.have.length(2);
    for (let flags = 0; flags < 2; flags += 1) expect((await flag(url)).status).to.equal(202);
    await until(10_000, 'the decision', async () => {
      return JSON.stringify(await canMessage(url)) === '{"can_message":false}';
    });
    launcher.ctrlC();
    expect(await launcher.ended()).to.equal(0);
    const steps = launcher.output.split('\n').filter((line) => /^stopp/.test(line));
    expect(steps).to.deep.equal([
      'stopping Ctrl-C (again: at once)',
      'stopped  api',
      'stopped  workers',
      'stopped  postgres',
      'stopped  redis',
      'stopped  nothing is left running',
    ]);
    expect(launcher.processes).to.deep.equal([]);
  });

  it('says on a terminal in about ten lines that it is ready, with pids and without an alarm', async () => {
    // On a busy machine the launcher's own polling is slow at times.
    launcher = LauncherProcess.start(commands.onTerminal, { SLOW_REQUEST_MS: '60000' });
    await launcher.says(/^ready {4}POST/m, 30_000);
    // Colours, and what npm draws and says.
    const text = stripVTControlCharacters(launcher.output).replaceAll('\r', '');
    const lines = text.split('\n').filter((line) => /^(\w|\[)/.test(line));
    expect(lines, text).to.have.length.within(6, 12);
    expect(lines.filter((line) => /WARN|ERROR|lost|failed|died|restored/.test(line))).to.deep.equal([]);
    for (const line of lines.filter((line) => line.startsWith('['))) {
      expect(line).to.match(/^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: \[(worker|api) \d+\] \S/);
    }
    expect(lines.filter((line) => /^worker \d pid \d+$/.test(line))).to.have.length(2);
  });

  it('decides the same after each of its processes was killed, and after a restart', async () => {
    launcher = LauncherProcess.start(commands.npmStart, { LEASE_TTL_MS: '600', HEARTBEAT_MS: '200' });
    let url = await launcher.ready();
    expect((await flag(url)).status).to.equal(202);
    const killed = [...launcher.pids(api), ...launcher.pids(worker), ...launcher.pids(redis)];
    expect(killed).to.have.length(4);
    for (const pid of killed) kill(pid);
    await until(20_000, 'all are back', async () => {
      if ((await fetch(`${url}/ready`)).status !== 200) return false;
      const now = [...launcher.pids(api), ...launcher.pids(worker), ...launcher.pids(redis)];
      return now.length === 4 && !now.some((pid) => killed.includes(pid));
    });
    expect(await canMessage(url)).to.deep.equal({ can_message: true });
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    launcher = LauncherProcess.start(commands.npmStart, {}, launcher.dataDir);
    url = await launcher.ready();
    expect((await flag(url)).status).to.equal(202);
    await until(10_000, 'the decision', async () => {
      return JSON.stringify(await canMessage(url)) === '{"can_message":false}';
    });
  });

  it('leaves nothing behind when the launcher is killed -9', async () => {
    launcher = LauncherProcess.start(commands.npmStart);
    await launcher.ready();
    kill(launcher.pids(launcherItself)[0]!);
    await launcher.gone();
  });

  it('leaves nothing behind when npm is killed -9, and stops in order', async () => {
    launcher = LauncherProcess.start(commands.npmStart);
    await launcher.ready();
    launcher.signal('SIGKILL');
    await launcher.gone();
    await launcher.says(/stopping npm is gone\n.*stopped {2}nothing is left running\n/s);
  });

  it('leaves nothing behind when the launcher is killed -9 while its processes still start', async () => {
    launcher = LauncherProcess.start(commands.npmStart);
    await launcher.says(/^worker 2 pid/m);
    kill(launcher.pids(launcherItself)[0]!);
    await launcher.gone();
  });
});
