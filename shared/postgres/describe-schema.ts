import type pg from 'pg';
import { databaseName } from './database-url.js';

/**
 * The schema of a database as text, in an order that never changes: tables with columns, constraints, indexes,
 * triggers, policies and grants, functions, roles. `shared/postgres/schema.txt` is this text for an empty database;
 * a test compares the two. The tables of single days are left out: they are made like their parents.
 */
export async function describeSchema(client: pg.Client, ownerUrl: string): Promise<string> {
  const database = databaseName(ownerUrl);
  const { rows: owners } = await client.query<{ owner: string }>('SELECT current_user::text AS owner');
  const owner = owners[0]!.owner;
  const parts: string[] = [];
  for (const [title, query] of SECTIONS) {
    const { rows } = await client.query<{ line: string }>(query);
    parts.push(`# ${title}`, '', ...rows.map(({ line }) => line), '');
  }
  // Names that differ from one database to the next.
  return parts
    .join('\n')
    .replaceAll(`${database}_weir_`, '<database>_weir_')
    .replaceAll(` ${owner}=`, ' <owner>=');
}

/** `weir_app=r` in the order of the names; Postgres' own text has the order of the grants. */
function acl(expression: string): string {
  return `(SELECT coalesce(string_agg(grants, ' ' ORDER BY grants COLLATE "C"), '-') FROM (
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END || '=' ||
      string_agg(privilege_type, ',' ORDER BY privilege_type COLLATE "C") AS grants
    FROM aclexplode(${expression}) GROUP BY grantee) AS acl)`;
}

const SCHEMAS = `('public', 'weir_private')`;
const OURS = `n.nspname IN ${SCHEMAS} AND c.relname !~ '^(usage_events|budget_ledger)_[0-9]{8}'`;
const TABLE = `n.nspname || '.' || c.relname`;
const FROM_TABLES = `pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace`;
/** A comment under its object. */
const commented = (comment: string) => `coalesce(E'\\n    -- ' || ${comment}, '')`;

const SECTIONS: readonly (readonly [title: string, query: string])[] = [
  [
    'Database and schemas: who may do what',
    `SELECT 'database: ' || ${acl('datacl')} AS line FROM pg_database WHERE datname = current_database()
     UNION ALL
     SELECT * FROM (SELECT 'schema ' || nspname || ': ' || ${acl('nspacl')} FROM pg_namespace
       WHERE nspname IN ${SCHEMAS} ORDER BY nspname) AS schemas`,
  ],
  [
    'Roles',
    `SELECT rolname || CASE WHEN rolcanlogin THEN ' LOGIN' ELSE '' END
       || CASE WHEN rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication THEN ' POWERFUL' ELSE '' END
       || coalesce(' IN ' || (SELECT string_agg(roleid::regrole::text, ', ') FROM pg_auth_members WHERE member = r.oid), '')
       || coalesce(E'\\n    ' || (SELECT string_agg(setting, E'\\n    ' ORDER BY setting COLLATE "C")
            FROM pg_db_role_setting s, unnest(setconfig) AS setting WHERE setrole = r.oid), '') AS line
     FROM pg_roles r
     WHERE rolname IN ('weir_app', 'weir_sink', current_database() || '_weir_app', current_database() || '_weir_sink')
     ORDER BY rolname COLLATE "C"`,
  ],
  [
    'Tables',
    `SELECT E'table ' || ${TABLE} || coalesce(' PARTITION BY ' || pg_get_partkeydef(c.oid), '')
       || CASE WHEN relrowsecurity THEN ' ROW SECURITY' ELSE '' END
       || CASE WHEN relforcerowsecurity THEN ' FORCED' ELSE '' END
       || ${commented('obj_description(c.oid)')}
       || E'\\n  grants: ' || ${acl('relacl')}
       || (SELECT string_agg(
             E'\\n  ' || attname || ' ' || format_type(atttypid, atttypmod)
             || CASE WHEN attcollation <> 0 AND collname <> 'default' THEN ' COLLATE "' || collname || '"' ELSE '' END
             || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
             || CASE attidentity WHEN '' THEN '' ELSE ' IDENTITY' END
             || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
             || ${commented('col_description(c.oid, attnum)')}, '' ORDER BY attnum)
           FROM pg_attribute a
           LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
           LEFT JOIN pg_collation l ON l.oid = attcollation
           WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
       || E'\\n' AS line
     FROM ${FROM_TABLES} WHERE ${OURS} AND relkind IN ('r', 'p') ORDER BY ${TABLE} COLLATE "C"`,
  ],
  [
    'Constraints',
    `SELECT ${TABLE} || ' ' || conname || ' ' || pg_get_constraintdef(o.oid) AS line
     FROM pg_constraint o JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE ${OURS} AND contype <> 'n' ORDER BY (${TABLE}) COLLATE "C", conname COLLATE "C"`,
  ],
  [
    'Indexes, and the queries they serve',
    `SELECT pg_get_indexdef(c.oid) || ${commented('obj_description(c.oid)')} AS line
     FROM ${FROM_TABLES} WHERE ${OURS} AND relkind IN ('i', 'I') ORDER BY ${TABLE} COLLATE "C"`,
  ],
  [
    'Triggers',
    `SELECT pg_get_triggerdef(t.oid) AS line
     FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE ${OURS} AND NOT tgisinternal ORDER BY (${TABLE}) COLLATE "C", tgname COLLATE "C"`,
  ],
  [
    'Policies',
    `SELECT ${TABLE} || ' ' || polname || ' TO ' || array_to_string(polroles::regrole[], ', ')
       || CASE polcmd WHEN 'r' THEN ' FOR SELECT' WHEN '*' THEN ' FOR ALL' ELSE ' FOR ' || polcmd::text END
       || coalesce(' USING ' || regexp_replace(pg_get_expr(polqual, polrelid), '\\s+', ' ', 'g'), '')
       || coalesce(' WITH CHECK ' || regexp_replace(pg_get_expr(polwithcheck, polrelid), '\\s+', ' ', 'g'), '') AS line
     FROM pg_policy JOIN pg_class c ON c.oid = polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE ${OURS} ORDER BY (${TABLE}) COLLATE "C", polname COLLATE "C"`,
  ],
  [
    'Functions',
    `SELECT p.oid::regprocedure::text || ' RETURNS ' || pg_get_function_result(p.oid)
       || CASE WHEN prosecdef THEN ' SECURITY DEFINER' ELSE '' END
       || CASE provolatile WHEN 'i' THEN ' IMMUTABLE' WHEN 's' THEN ' STABLE' ELSE ' VOLATILE' END
       || coalesce(' SET ' || array_to_string(proconfig, '; '), '')
       || E'\\n  grants: ' || ${acl('proacl')}
       || ${commented('obj_description(p.oid)')} AS line
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname IN ${SCHEMAS} ORDER BY p.oid::regprocedure::text COLLATE "C"`,
  ],
];
