import pg from 'pg';
import { withoutPassword } from '../logging.js';
import { LauncherError } from './launcher-error.js';
import type { StoreAnswer } from './store.js';

const askMsMax = 1000;
/** The oldest one whose SQL weir's schema can be. */
const majorMin = 15;

/** One query on a connection of its own, bounded to a second or so. @throws LauncherError when it is too old. */
export async function askPostgres(url: string): Promise<StoreAnswer> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: askMsMax,
    query_timeout: askMsMax,
  });
  // A connection that breaks after its query has answered is of no interest.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ server_version_num: string }>('SHOW server_version_num');
    assertVersion(Number(rows[0]!.server_version_num), url);
    return { kind: 'ready' };
  } catch (error) {
    if (error instanceof LauncherError) throw error;
    return failure(error as Error & { readonly code?: string });
  } finally {
    await client.end().catch(() => undefined);
  }
}

function assertVersion(version: number, url: string): void {
  const major = Math.floor(version / 10_000);
  if (major >= majorMin) return;
  throw new LauncherError(`${shownPostgres(url)} is Postgres ${major}; weir needs ${majorMin} or newer`);
}

/** What waiting does not mend: classes 28 (authorization) and 3D (no such database), rights, and a lack of TLS. */
function failure({ code = '', message }: Error & { readonly code?: string }): StoreAnswer {
  const refused = /^(28|3D|42501)/.test(code) || /does not support SSL|certificate/i.test(message);
  return { kind: refused ? 'refused' : 'away', why: message === '' ? code : message };
}

/** Its URL without what may be secret. */
export function shownPostgres(url: string): string {
  return withoutPassword(url).replace(/\?.*$/, '');
}
