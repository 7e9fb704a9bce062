import { createHmac } from 'node:crypto';
import { SetupError } from '../setup-error.js';

/** DATABASE_URL cannot be used; says what to change and repeats no password. */
export class DatabaseUrlError extends SetupError {
  constructor(readonly detail: string) {
    super(`DATABASE_URL: ${detail}`);
  }
}

/** Names in Postgres end after this many bytes, silently. */
const NAME_BYTES_MAX = 63;
/** These would win over what stands before the host, and make the application log in as the owner. */
const PARAMETERS_REFUSED = ['user', 'password', 'database', 'dbname'];

interface Owner {
  readonly database: string;
  readonly password: string;
  readonly url: URL;
}

/** What is wrong with DATABASE_URL, without its password; undefined when nothing is. */
export function databaseUrlDefect(ownerUrl: string): string | undefined {
  try {
    sinkUrl(ownerUrl);
    return undefined;
  } catch (error) {
    if (error instanceof DatabaseUrlError) return error.detail;
    throw error;
  }
}

/**
 * Every process has one secret, DATABASE_URL with the owner's password. The passwords of the two login roles and
 * the tenant key are derived from it: nothing else has to be handed out or kept, and whoever migrates writes them.
 */
export function appUrl(ownerUrl: string): string {
  return roleUrl(ownerUrl, appRole(ownerUrl));
}

export function sinkUrl(ownerUrl: string): string {
  return roleUrl(ownerUrl, sinkRole(ownerUrl));
}

/** Login role of the API: reads as one tenant. */
export function appRole(ownerUrl: string): string {
  return roleName(ownerUrl, 'app');
}

/** Login role of the workers: writes for all tenants. */
export function sinkRole(ownerUrl: string): string {
  return roleName(ownerUrl, 'sink');
}

export function databaseName(ownerUrl: string): string {
  return parse(ownerUrl).database;
}

export function rolePassword(ownerUrl: string, role: string): string {
  return derive(ownerUrl, `weir role ${role}`);
}

/** What proves a tenant to Postgres; the database's name is in it, so that a proof is good for one database. */
export function tenantKey(ownerUrl: string): string {
  return derive(ownerUrl, `weir tenant key ${parse(ownerUrl).database}`);
}

function roleName(ownerUrl: string, suffix: string): string {
  const name = `${parse(ownerUrl).database}_weir_${suffix}`;
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new DatabaseUrlError('the name of the database is too long (at most 53 bytes)');
  }
  return name;
}

function roleUrl(ownerUrl: string, role: string): string {
  const { url, database } = parse(ownerUrl);
  url.username = encodeURIComponent(role);
  url.password = encodeURIComponent(rolePassword(ownerUrl, role));
  // A URL without a path means the database that is called as its user, which is another one now.
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

function derive(ownerUrl: string, label: string): string {
  return createHmac('sha256', parse(ownerUrl).password).update(label).digest('base64url');
}

/** @throws DatabaseUrlError */
function parse(ownerUrl: string): Owner {
  if (!URL.canParse(ownerUrl)) throw new DatabaseUrlError('is not a URL');
  const url = new URL(ownerUrl);
  const refused = PARAMETERS_REFUSED.find((name) => url.searchParams.has(name));
  if (refused !== undefined) {
    throw new DatabaseUrlError(`write ${refused} before the host or as the path, not as a parameter`);
  }
  if (url.hostname === '') throw new DatabaseUrlError('needs a host');
  if (url.username === '') throw new DatabaseUrlError('needs a user');
  if (url.password === '') {
    throw new DatabaseUrlError("needs a password: the passwords of weir's own roles are derived from it");
  }
  const [user, password, database] = [url.username, url.password, url.pathname.slice(1)].map(decoded);
  return { database: database || user!, password: password!, url };
}

/** @throws DatabaseUrlError */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new DatabaseUrlError(
      'its user, password or database has a % that begins no code: write %25 for it',
    );
  }
}
