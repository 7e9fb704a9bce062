import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import pino from 'pino';
import { describeSchema } from '../../shared/postgres/describe-schema.js';
import { migrate } from '../../shared/postgres/migrate.js';
import { PostgresServer } from './postgres-server.js';

/** Where the file lies, seen from dist/test/support/. */
export const schemaPath = fileURLToPath(new URL('../../../shared/postgres/schema.txt', import.meta.url));

/** The schema that all migrations together make of an empty database. */
export async function schemaOfEmpty(server: PostgresServer): Promise<string> {
  const url = await server.createDatabase();
  await migrate(url, pino({ level: 'silent' }), { waitMs: 10_000 });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await describeSchema(client, url);
  } finally {
    await client.end();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await PostgresServer.start();
  try {
    writeFileSync(schemaPath, await schemaOfEmpty(server));
  } finally {
    await server.stop();
  }
}
