import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import pg from 'pg';
import pino from 'pino';
import { appUrl, sinkUrl } from '../../../shared/postgres/database-url.js';
import { describeSchema } from '../../../shared/postgres/describe-schema.js';
import { MigrationBusy, MissingPrivilege, SchemaNewer } from '../../../shared/postgres/errors.js';
import { migrate } from '../../../shared/postgres/migrate.js';
import { migrationNames, migrationsFolder } from '../../../shared/postgres/migrations.js';
import { AnotherInstallation } from '../../../shared/postgres/other-owner.js';
import { testPostgres } from '../../support/hooks.js';
import { until } from '../../support/redis-server.js';

const silent = pino({ level: 'silent' });
const WAIT = { waitMs: 15_000 };

/** Runs work on a connection of its own. */
async function connected<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function schemaOf(url: string): Promise<string> {
  return connected(url, (client) => describeSchema(client, url));
}

async function errorOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not fail');
}

describe('migrate', () => {
  let url: string;
  beforeEach(async () => {
    url = await (await testPostgres()).createDatabase();
  });

  it('brings an empty database up, from eight processes at once and again: each migration runs once', async () => {
    await Promise.all(Array.from({ length: 8 }, () => migrate(url, silent, WAIT)));
    const applied = await connected(url, (client) =>
      client.query('SELECT name FROM weir_private.migrations ORDER BY id'),
    );
    expect(applied.rows.map(({ name }) => name)).to.deep.equal(migrationNames());
    const once = await schemaOf(url);
    await migrate(url, silent, WAIT);
    expect(await schemaOf(url)).to.equal(once);
  });

  it('may run in several databases of one server at once, which share the group roles', async () => {
    const server = await testPostgres();
    const urls = await Promise.all(Array.from({ length: 4 }, () => server.createDatabase()));
    await Promise.all([...urls, ...urls].map((one) => migrate(one, silent, WAIT)));
    const schemas = await Promise.all(urls.map(schemaOf));
    expect(new Set(schemas).size).to.equal(1);
  });

  it('makes roles that can log in, each to its own database only', async () => {
    const other = await (await testPostgres()).createDatabase();
    await Promise.all([migrate(url, silent, WAIT), migrate(other, silent, WAIT)]);
    for (const roleUrl of [appUrl(url), sinkUrl(url)]) {
      const who = await connected(roleUrl, (client) => client.query('SELECT current_user AS name'));
      expect(who.rows[0].name).to.equal(decodeURIComponent(new URL(roleUrl).username));
      const elsewhere = new URL(roleUrl);
      elsewhere.pathname = new URL(other).pathname;
      expect(await errorOf(connected(elsewhere.href, async () => undefined))).to.include({ code: '42501' });
    }
  });

  it('follows a change of the owner’s password: roles and tenant key change with it', async () => {
    await connected(url, (client) =>
      client.query(`CREATE ROLE ${new URL(url).pathname.slice(1)}_owner SUPERUSER LOGIN PASSWORD 'first'`),
    );
    const owned = new URL(url);
    owned.username = `${new URL(url).pathname.slice(1)}_owner`;
    owned.password = 'first';
    const keyOf = (one: string) =>
      connected(one, async (client) => (await client.query('SELECT key FROM weir_private.tenant_key')).rows);
    await migrate(owned.href, silent, WAIT);
    const [before, oldApp] = [await keyOf(owned.href), appUrl(owned.href)];
    await connected(url, (client) => client.query(`ALTER ROLE ${owned.username} PASSWORD 'second'`));
    owned.password = 'second';
    await migrate(owned.href, silent, WAIT);
    expect(await keyOf(owned.href)).not.to.deep.equal(before);
    await connected(appUrl(owned.href), async () => undefined);
    expect(await errorOf(connected(oldApp, async () => undefined))).to.include({ code: '28P01' });
  });

  it('waits no longer than it may for another process that is migrating, and gets its turn when that one is killed', async () => {
    const holder = new pg.Client({ connectionString: url });
    holder.on('error', () => undefined);
    await holder.connect();
    await holder.query('SELECT pg_advisory_lock($1)', [0x77656972]);
    expect(await errorOf(migrate(url, silent, { waitMs: 50 }))).to.be.instanceOf(MigrationBusy);
    const waiting = migrate(url, silent, WAIT);
    const {
      rows: [{ pid }],
    } = await holder.query('SELECT pg_backend_pid() AS pid');
    await connected(url, async (client) => {
      await until(5000, 'migrate waits for the lock', async () => {
        const { rowCount } = await client.query(
          `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        );
        return rowCount === 1;
      });
      await client.query('SELECT pg_terminate_backend($1)', [pid]);
    });
    await waiting;
  });

  it('refuses a database that a newer weir has migrated, and changes nothing there', async () => {
    await migrate(url, silent, WAIT);
    await connected(url, (client) =>
      client.query(
        `INSERT INTO weir_private.migrations (name, run_on) VALUES ('9999_from-the-future', now())`,
      ),
    );
    const error = await errorOf(migrate(url, silent, WAIT));
    expect(error).to.be.instanceOf(SchemaNewer);
    expect(error.message).to.include('9999_from-the-future').and.to.include(migrationNames().at(-1)!);
  });

  it('applies all missing migrations or none', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-migrations-'));
    try {
      cpSync(migrationsFolder, folder, { recursive: true });
      writeFileSync(
        join(folder, '0999_broken.sql'),
        '-- Up Migration\nCREATE TABLE half (); SELECT 1 / 0;\n',
      );
      expect((await errorOf(migrate(url, silent, { ...WAIT, folder }))).message).to.include(
        'division by zero',
      );
      const { rows } = await connected(url, (client) =>
        client.query(`SELECT to_regclass('half') AS half, to_regclass('tenants') AS tenants`),
      );
      expect(rows[0]).to.deep.equal({ half: null, tenants: null });
      await migrate(url, silent, WAIT);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('leaves the database of another installation as it is, also where its schema is older', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-migrations-'));
    const theirs = { namespace: 'theirs', partitions: 4 };
    try {
      cpSync(migrationsFolder, folder, { recursive: true });
      for (const name of migrationNames().slice(3)) rmSync(join(folder, `${name}.sql`));
      await migrate(url, silent, { ...WAIT, folder, ours: theirs });
    } finally {
      rmSync(folder, { recursive: true });
    }
    await connected(sinkUrl(url), (sink) =>
      sink.query('INSERT INTO installation (namespace, partitions) VALUES ($1, $2)', ['theirs', 4]),
    );
    const before = await schemaOf(url);
    const ours = { namespace: 'ours', partitions: 4 };
    expect(await errorOf(migrate(url, silent, { ...WAIT, ours }))).to.be.instanceOf(AnotherInstallation);
    expect(await schemaOf(url)).to.equal(before);
    await migrate(url, silent, { ...WAIT, ours: theirs });
    expect(await schemaOf(url)).not.to.equal(before);
  });

  it('goes from an older schema to the present one with the data in it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-migrations-'));
    try {
      cpSync(migrationsFolder, folder, { recursive: true });
      // Without budgets and all that came after.
      for (const name of migrationNames().slice(3)) rmSync(join(folder, `${name}.sql`));
      await migrate(url, silent, { ...WAIT, folder });
    } finally {
      rmSync(folder, { recursive: true });
    }
    await connected(sinkUrl(url), async (sink) => {
      await sink.query(`INSERT INTO tenants (id, name) VALUES ('acme', 'Acme')`);
      await sink.query(`INSERT INTO customers (tenant_id, external_id, name) VALUES ('acme', 'c', 'C')`);
      await sink.query(
        `INSERT INTO usage_events (accepted_at, partition, entry_seq, message_index, tenant_id, customer_id, event_id,
           event_at, window_start, status, window_revision, endpoint, tokens, input_tokens, output_tokens)
         SELECT now(), 0, 0, n, 'acme', c.id, 'e' || n, now(), now(), 'accepted', 1, '/v1', n, 0, 0
         FROM customers c, generate_series(1, 100) AS n`,
      );
      await sink.query(`INSERT INTO sink_positions VALUES ('archive', 'usage.0', '1-1', '1-1')`);
    });
    await connected(sinkUrl(url), (sink) =>
      sink.query(`INSERT INTO tenants (id, name) VALUES ('default', 'Everybody')`),
    );
    await migrate(url, silent, WAIT);
    const [present, fresh] = [url, await (await testPostgres()).createDatabase()];
    await migrate(fresh, silent, WAIT);
    expect(await schemaOf(present)).to.equal(await schemaOf(fresh));
    const { rows } = await connected(url, (client) =>
      client.query(`SELECT count(*)::int AS events, sum(tokens)::int AS tokens, count(source)::int AS sources FROM usage_events JOIN customers c
        ON c.id = customer_id AND c.external_id = 'c'`),
    );
    expect(rows).to.deep.equal([{ events: 100, tokens: 5050, sources: 0 }]);
    await connected(sinkUrl(url), async (sink) => {
      const tenants = await sink.query('SELECT id, name FROM tenants ORDER BY id');
      expect(tenants.rows).to.deep.equal([
        { id: 'acme', name: 'Acme' },
        { id: 'default', name: 'Everybody' },
      ]);
      await sink.query(`SELECT ensure_usage_partition('2031-02-03'), ensure_ledger_partition('2031-02-03')`);
    });
  });
});

describe('migrate with an owner that is no superuser', () => {
  let url: string;
  let owner: URL;
  beforeEach(async () => {
    url = await (await testPostgres()).createDatabase();
    const database = new URL(url).pathname.slice(1);
    owner = new URL(url);
    owner.username = `${database}_owner`;
    owner.password = 'secret';
    await connected(url, async (client) => {
      await client.query(`CREATE ROLE ${owner.username} LOGIN PASSWORD 'secret'`);
      await client.query(`ALTER DATABASE ${database} OWNER TO ${owner.username}`);
    });
  });

  it('says which privilege it lacks', async () => {
    const error = await errorOf(migrate(owner.href, silent, WAIT));
    expect(error).to.be.instanceOf(MissingPrivilege);
    expect(error.message)
      .to.match(/^DATABASE_URL: /)
      .and.to.match(/CREATEROLE|ADMIN OPTION/);
  });

  it('works with CREATEROLE, and row level security binds the owner too', async () => {
    await connected(url, async (client) => {
      await client.query(`ALTER ROLE ${owner.username} CREATEROLE`);
      // The groups may be there, of another installation on the same server.
      for (const group of ['weir_app', 'weir_sink']) {
        const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [group]);
        if (rowCount === 1)
          await client.query(`GRANT ${group} TO ${owner.username} WITH ADMIN TRUE, INHERIT FALSE`);
      }
    });
    await Promise.all([migrate(owner.href, silent, WAIT), migrate(owner.href, silent, WAIT)]);
    await connected(sinkUrl(owner.href), async (sink) => {
      await sink.query(`INSERT INTO tenants (id, name) VALUES ('acme', 'Acme')`);
      // The foreign key looks into a table whose owner sees no row of it.
      await sink.query(`INSERT INTO customers (tenant_id, external_id, name) VALUES ('acme', 'c', 'C')`);
      await sink.query(`SELECT ensure_usage_partition('2031-02-03'), ensure_ledger_partition('2031-02-03')`);
      const { rows } = await sink.query('SELECT tenant_id, version FROM budget_versions');
      expect(rows).to.deep.equal([{ tenant_id: 'default', version: 1 }]);
    });
    await connected(owner.href, async (client) => {
      expect((await client.query('SELECT * FROM tenants')).rows).to.deep.equal([]);
    });
  });

  it('refuses an application role that could do more than it must', async () => {
    const app = decodeURIComponent(new URL(appUrl(url)).username);
    for (const [spoil, repair, detail] of [
      [`ALTER ROLE ${app} BYPASSRLS`, `ALTER ROLE ${app} NOBYPASSRLS`, 'bypasses row level security'],
      [`ALTER ROLE ${app} CREATEDB`, `ALTER ROLE ${app} NOCREATEDB`, 'may create roles or databases'],
      [`GRANT weir_sink TO ${app}`, `REVOKE weir_sink FROM ${app}`, 'member of more than weir_app'],
      [
        `GRANT pg_read_all_data TO ${app}`,
        `REVOKE pg_read_all_data FROM ${app}`,
        'member of more than weir_app',
      ],
      [
        `GRANT CREATE ON SCHEMA public TO ${app}`,
        `REVOKE CREATE ON SCHEMA public FROM ${app}`,
        'may create in the schema public',
      ],
    ] as const) {
      await migrate(url, silent, WAIT);
      await connected(url, (client) => client.query(spoil));
      const error = await errorOf(migrate(url, silent, WAIT));
      expect(error).to.be.instanceOf(MissingPrivilege);
      expect(error.message).to.include(detail).and.to.include(app);
      await connected(url, (client) => client.query(repair));
    }
    await migrate(url, silent, WAIT);
  });
});
