import pg from 'pg';
import { appRole, databaseName, rolePassword, sinkRole } from './database-url.js';
import { MissingPrivilege, sqlState } from './errors.js';
import { scramVerifier } from './scram-verifier.js';

/**
 * The roles, from those that may most to those that may least:
 *
 * - the owner (DATABASE_URL): owns everything, migrates; row level security binds it too (FORCE), unless it is a
 *   superuser
 * - `<database>_weir_sink`, a member of `weir_sink`: writes for all tenants
 * - `<database>_weir_app`, a member of `weir_app`: reads as the tenant that it can prove
 *
 * Roles belong to the whole server, so the groups (which policies and grants name) are shared by all installations on
 * it, and the logins are not: only they may connect to their database.
 */
const GROUPS = ['weir_app', 'weir_sink'] as const;

/** Settings of every session of a role. Limits first: nothing runs, waits or idles for ever. */
const APP_SETTINGS = {
  statement_timeout: '5s',
  lock_timeout: '1s',
  idle_in_transaction_session_timeout: '10s',
  default_transaction_read_only: 'on',
  // Its queries are prepared and read by index whatever their values: they need one plan a connection. Left to itself
  // Postgres plans a receipt anew each time, over the tables of all days, which takes twice as long as to run it.
  plan_cache_mode: 'force_generic_plan',
};
const SINK_SETTINGS = {
  statement_timeout: '60s',
  lock_timeout: '5s',
  idle_in_transaction_session_timeout: '60s',
};
const COMMON_SETTINGS = {
  // Temporary tables last: none can stand in front of ours.
  search_path: 'public, pg_temp',
  timezone: 'UTC',
  datestyle: 'ISO, MDY',
  // Compiling a query takes longer than running one of ours.
  jit: 'off',
};

/** Two databases of one server may touch the same group role at once: these then say "again". */
const CONCURRENT = new Set(['XX000', '23505', '42710']);
const ATTEMPTS_MAX = 5;

/** Makes the group roles unless they exist. */
export async function writeGroupRoles(client: pg.Client): Promise<void> {
  for (const group of GROUPS) {
    await again(async () => {
      const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [group]);
      if (rowCount === 0) await client.query(`CREATE ROLE ${group} NOLOGIN`);
    });
  }
}

/**
 * Makes the login roles of this database and writes their passwords, settings and grants, whatever they were before.
 * @throws MissingPrivilege when the application role can do more than it must be able to
 */
export async function writeLoginRoles(client: pg.Client, ownerUrl: string): Promise<void> {
  const app = appRole(ownerUrl);
  const sink = sinkRole(ownerUrl);
  const name = pg.escapeIdentifier;
  const database = name(databaseName(ownerUrl));
  await again(() =>
    inTransaction(client, async () => {
      await writeLogin(client, app, 'weir_app', ownerUrl, { ...APP_SETTINGS, ...COMMON_SETTINGS });
      await writeLogin(client, sink, 'weir_sink', ownerUrl, { ...SINK_SETTINGS, ...COMMON_SETTINGS });
      // By default everybody may connect and make temporary tables: a role of another installation, and the application.
      await client.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`);
      await client.query(`GRANT CONNECT ON DATABASE ${database} TO ${name(app)}, ${name(sink)}`);
      await client.query(`GRANT TEMPORARY ON DATABASE ${database} TO ${name(sink)}`);
      await refusePowerful(client, app);
    }),
  );
}

async function writeLogin(
  client: pg.Client,
  role: string,
  group: (typeof GROUPS)[number],
  ownerUrl: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const name = pg.escapeIdentifier(role);
  const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [role]);
  if (rowCount === 0) await client.query(`CREATE ROLE ${name} LOGIN`);
  const verifier = pg.escapeLiteral(scramVerifier(rolePassword(ownerUrl, role)));
  await client.query(`ALTER ROLE ${name} LOGIN PASSWORD ${verifier}`);
  await client.query(`GRANT ${group} TO ${name}`);
  for (const [setting, value] of Object.entries(settings)) {
    // search_path is a list of names; quoted as one it would be one name.
    const text = setting === 'search_path' ? value : pg.escapeLiteral(value);
    await client.query(`ALTER ROLE ${name} SET ${setting} = ${text}`);
  }
}

/**
 * Row level security is worth as much as the role it binds. What is wrong here was granted by somebody else (or could
 * not be revoked, because we do not own the database), so it is for somebody else to put right.
 */
async function refusePowerful(client: pg.Client, role: string): Promise<void> {
  const { rows } = await client.query<{ power: string }>(
    `SELECT power
     FROM pg_roles r,
       LATERAL (VALUES
         ('is a superuser or bypasses row level security', rolsuper OR rolbypassrls),
         ('may create roles or databases or replicate', rolcreaterole OR rolcreatedb OR rolreplication),
         ('is a member of more than weir_app', EXISTS (
           SELECT FROM pg_auth_members m WHERE m.member = r.oid AND m.roleid <> 'weir_app'::regrole)),
         ('may make temporary tables', has_database_privilege(r.oid, current_database(), 'TEMPORARY')),
         ('may create schemas', has_database_privilege(r.oid, current_database(), 'CREATE')),
         ('may create in the schema public', has_schema_privilege(r.oid, 'public', 'CREATE'))
       ) AS found (power, so)
     WHERE rolname = $1 AND so`,
    [role],
  );
  if (rows.length === 0) return;
  throw new MissingPrivilege(
    `the role ${role} ${rows.map(({ power }) => power).join(', and ')}: take that away, or let DATABASE_URL's role own the database`,
  );
}

async function inTransaction(client: pg.Client, work: () => Promise<void>): Promise<void> {
  await client.query('BEGIN');
  try {
    await work();
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

async function again(work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const state = sqlState(error);
      if (attempt === ATTEMPTS_MAX || state === undefined || !CONCURRENT.has(state)) throw error;
    }
  }
}
