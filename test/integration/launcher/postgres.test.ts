import { chmodSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import pg from 'pg';
import { readStores } from '../../../shared/launcher/stores-file.js';
import { testPostgres } from '../../support/hooks.js';
import { commands, kill, LauncherProcess, newDataDir } from '../../support/launcher/launcher-process.js';
import { until } from '../../support/redis-server.js';

const postmaster = /^postgres -D/;

describe('the private Postgres of the launcher', function () {
  this.timeout(60_000);
  let launcher: LauncherProcess;
  afterEach(() => launcher.clean());

  const databaseUrl = async (): Promise<string> => (await readStores(launcher.dataDir))!.databaseUrl;
  const connected = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: await databaseUrl() });
    // Some tests end the server under it.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const query = async (sql: string): Promise<readonly unknown[]> => {
    const client = await connected();
    try {
      return (await client.query({ text: sql, rowMode: 'array' })).rows;
    } finally {
      await client.end();
    }
  };
  /** A query that only the end of its connection or of the server ends. */
  const busy = async (sql: string): Promise<void> => {
    const client = await connected();
    client.query(sql).catch(() => undefined);
    await until(5000, 'the query runs', async () => {
      const running = await query(`SELECT FROM pg_stat_activity WHERE query = '${sql}' AND state = 'active'`);
      return running.length === 1;
    });
  };

  it('is told to the API and the workers, and to whoever may read stores.json', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.ready();
    const url = await databaseUrl();
    const { port } = new URL(url);
    expect(launcher.output).to.include(
      `postgres postgres://127.0.0.1:${port}/weir  (private, data in ${launcher.dataDir}/postgres)\n`,
    );
    for (const pid of launcher.pids(/stand-in/)) {
      expect(readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')).to.include(`DATABASE_URL=${url}`);
    }
    const file = join(launcher.dataDir, 'stores.json');
    expect(statSync(file).mode & 0o777).to.equal(0o600);
    expect(statSync(join(launcher.dataDir, 'postgres', 'password')).mode & 0o777).to.equal(0o600);
    expect(launcher.output).to.not.include(new URL(url).password);
  });

  it('is durable, sorts the same everywhere, and lets nobody in without its password', async () => {
    launcher = LauncherProcess.start(commands.standIns, { WORKERS: '0' });
    await launcher.ready();
    const [settings] = await query(
      `SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_encoding'),
        datlocprovider::text || ':' || datlocale, current_setting('listen_addresses')
        FROM pg_database WHERE datname = current_database()`,
    );
    expect(settings).to.deep.equal(['on', 'on', 'UTF8', 'b:C.UTF-8', '127.0.0.1']);
    const wrong = new URL(await databaseUrl());
    wrong.password = 'wrong';
    const client = new pg.Client({ connectionString: wrong.toString() });
    const refused = await client.connect().catch((error: Error) => error);
    expect((refused as Error).message).to.match(/password authentication failed/);
  });

  it('keeps its data, its port and its password over a restart, and stops while clients are connected', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.ready();
    const before = await databaseUrl();
    await query('CREATE TABLE kept AS SELECT 1 AS n');
    await busy('SELECT pg_sleep(600)');
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    expect(launcher.output).to.not.include('did not end');
    expect(launcher.processes).to.deep.equal([]);
    expect(await readStores(launcher.dataDir)).to.equal(undefined);
    launcher = LauncherProcess.start(commands.standIns, {}, launcher.dataDir);
    await launcher.ready();
    expect(await databaseUrl()).to.equal(before);
    expect(await query('SELECT n FROM kept')).to.deep.equal([[1]]);
  });

  it('is replaced when it was killed, with its data and on the same port', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.ready();
    await query('CREATE TABLE kept AS SELECT 1 AS n');
    const [killed] = launcher.pids(postmaster);
    kill(killed!);
    await launcher.says(/postgres ended \(killed by SIGKILL\)/);
    await until(10_000, 'Postgres is back', async () => (await query('SELECT n FROM kept')).length === 1);
    expect(launcher.pids(postmaster)).to.have.length(1).and.not.include(killed);
  });

  it('takes another port when the one of the last run is in use', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.ready();
    const port = Number(new URL(await databaseUrl()).port);
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve));
    try {
      launcher = LauncherProcess.start(commands.standIns, {}, launcher.dataDir);
      await launcher.ready();
      expect(new URL(await databaseUrl()).port).to.not.equal(String(port));
      expect(await query('SELECT 1')).to.deep.equal([[1]]);
    } finally {
      await new Promise((resolve) => taken.close(resolve));
    }
  });

  it('ends with a launcher that is killed -9, even while it works, and the next one goes on with its data', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.ready();
    await query('CREATE TABLE kept AS SELECT 1 AS n');
    await busy('SELECT pg_sleep(600)');
    const letStoresEnd = launcher.killKeepingStores();
    await until(5000, 'nobody is told of it', async () => (await readStores(launcher.dataDir)) === undefined);
    launcher = LauncherProcess.start(commands.standIns, {}, launcher.dataDir);
    await launcher.says(/postgres the one of the last run \(pid \d+\) is still ending/);
    letStoresEnd();
    await launcher.ready();
    expect(await query('SELECT n FROM kept')).to.deep.equal([[1]]);
    launcher.signal('SIGKILL');
    await launcher.gone();
  });

  it('ends at once with a second Ctrl-C, however busy its children are', async () => {
    launcher = LauncherProcess.start(commands.standIns, { STAND_IN_IS_DEAF: '1' });
    await launcher.ready();
    await launcher.workersRun();
    await busy('SELECT count(*) FROM generate_series(1, 1e12)');
    await until(5000, 'the launcher ends', () => {
      if (launcher.exit === undefined) launcher.ctrlC();
      return launcher.exit !== undefined;
    });
    expect(await launcher.ended()).to.equal(130);
    await launcher.gone(5000);
  });

  it('starts after a crash though another program has the pid of the server that crashed', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.ready();
    await query('CREATE TABLE kept AS SELECT 1 AS n');
    const file = join(launcher.dataDir, 'postgres', 'data', 'postmaster.pid');
    const left = readFileSync(file, 'utf8');
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    writeFileSync(file, left.replace(/^\d+/, String(process.pid)));
    launcher = LauncherProcess.start(commands.standIns, {}, launcher.dataDir);
    await launcher.ready();
    expect(await query('SELECT n FROM kept')).to.deep.equal([[1]]);
  });

  it('starts anew where a launcher was killed while it made the cluster', async () => {
    const dataDir = newDataDir();
    mkdirSync(join(dataDir, 'postgres', 'data.new-1234', 'base'), { recursive: true });
    launcher = LauncherProcess.start(commands.standIns, {}, dataDir);
    await launcher.ready();
    expect(() => statSync(join(dataDir, 'postgres', 'data.new-1234'))).to.throw(/ENOENT/);
  });

  it('shows the end of the log of a Postgres that does not start, and stops Redis again', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.ready();
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    writeFileSync(join(launcher.dataDir, 'postgres', 'data', 'PG_VERSION'), '11\n');
    launcher = LauncherProcess.start(commands.standIns, {}, launcher.dataDir);
    expect(await launcher.ended()).to.equal(1);
    expect(launcher.output).to.include('error    Postgres does not start (exit code 1). The end of');
    expect(launcher.output).to.match(/database files are incompatible with server/);
    expect(launcher.processes).to.deep.equal([]);
  });

  it('says what to do when its password is gone', async () => {
    launcher = LauncherProcess.start(commands.standIns);
    await launcher.ready();
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    rmSync(join(launcher.dataDir, 'postgres', 'password'));
    launcher = LauncherProcess.start(commands.standIns, {}, launcher.dataDir);
    expect(await launcher.ended()).to.equal(1);
    expect(launcher.output).to.match(/^error {4}the password of the Postgres in .* put it back, or delete/m);
  });

  if (process.getuid?.() === 0) {
    it('lies elsewhere where the system user that it runs as cannot reach the data folder', async () => {
      const closed = newDataDir();
      chmodSync(closed, 0o700);
      const dataDir = join(closed, 'data');
      launcher = LauncherProcess.start(commands.standIns, {}, dataDir);
      await launcher.ready();
      const data = realpathSync(join(dataDir, 'postgres', 'data'));
      try {
        expect(dirname(data)).to.equal('/var/lib/weir');
        expect(launcher.output).to.include(`(private, data in ${data}: `);
        await query('CREATE TABLE kept AS SELECT 1 AS n');
        launcher.signal('SIGKILL');
        launcher = LauncherProcess.start(commands.standIns, {}, dataDir);
        await launcher.ready();
        expect(await query('SELECT n FROM kept')).to.deep.equal([[1]]);
        launcher.signal('SIGTERM');
        expect(await launcher.ended()).to.equal(0);
        expect(() => statSync(join(data, 'postmaster.pid'))).to.throw(/ENOENT/);
      } finally {
        await launcher.clean();
        rmSync(data, { recursive: true, force: true });
        rmSync(closed, { recursive: true, force: true });
      }
    });
  }
});

describe('the launcher with a given Postgres', function () {
  this.timeout(60_000);
  let launcher: LauncherProcess;
  afterEach(() => launcher.clean());

  const refusal = async (change: (url: URL) => void): Promise<string> => {
    const url = new URL((await testPostgres()).url);
    change(url);
    launcher = LauncherProcess.start(commands.standIns, { DATABASE_URL: url.toString() });
    expect(await launcher.ended()).to.equal(1);
    expect(launcher.processes).to.deep.equal([]);
    return /^error .*$/m.exec(launcher.output)![0];
  };

  it('runs none of its own, and still tells of its private Redis', async () => {
    const DATABASE_URL = await (await testPostgres()).createDatabase();
    launcher = LauncherProcess.start(commands.standIns, { DATABASE_URL });
    await launcher.ready();
    expect(launcher.pids(postmaster)).to.deep.equal([]);
    const { redisUrl, databaseUrl } = (await readStores(launcher.dataDir))!;
    expect(databaseUrl).to.equal(DATABASE_URL);
    expect(launcher.output).to.include(`redis    ${redisUrl}  (private`);
  });

  it('says that a password is wrong, without showing it', async () => {
    const line = await refusal((url) => {
      url.password = 'hunter2';
    });
    expect(line).to.match(
      /^error {4}postgres:\/\/127\.0\.0\.1:\d+\/postgres refuses us: password authentication/,
    );
    expect(launcher.output).to.not.include('hunter2');
  });

  it('says that a database does not exist', async () => {
    const line = await refusal((url) => {
      url.pathname = '/nowhere';
    });
    expect(line).to.match(/\/nowhere refuses us: database "nowhere" does not exist$/);
  });

  it('waits for one that does not answer yet, and says so', async () => {
    launcher = LauncherProcess.start(commands.standIns, {
      DATABASE_URL: 'postgres://a:hunter2@127.0.0.1:1/x',
    });
    await launcher.says(/^postgres waiting for postgres:\/\/127\.0\.0\.1:1\/x: .*ECONNREFUSED/m);
    expect(launcher.output).to.not.include('hunter2');
    launcher.signal('SIGTERM');
    expect(await launcher.ended()).to.equal(0);
    expect(launcher.processes).to.deep.equal([]);
  });
});
