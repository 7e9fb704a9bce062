import { resolve } from 'node:path';
import { type Config, configSchema, type Settings } from './config.js';
import { SetupError } from './setup-error.js';

/** All defects of the environment at once, one per line; a single one is one line. */
export class ConfigError extends SetupError {
  constructor(defects: readonly string[]) {
    const [first, ...more] = defects;
    super(
      `configuration:${more.length === 0 ? ` ${first}` : defects.map((defect) => `\n  ${defect}`).join('')}`,
    );
  }
}

/**
 * Reads the environment; the only place that does. An empty variable counts as unset.
 * @throws ConfigError naming every wrong variable.
 */
export function loadConfig(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  const given: Record<string, string> = Object.fromEntries(
    Object.keys(configSchema.shape).flatMap((name) => {
      const value = environment[name];
      return value === undefined || value === '' ? [] : [[name, value]];
    }),
  );
  const parsed = configSchema.safeParse(given);
  const defects = [...heartbeatDefects(given), ...replyDefects(given)];
  if (!parsed.success) {
    defects.unshift(
      ...parsed.error.issues.map(({ path, message }) => {
        const name = String(path[0]);
        return `${name}: ${message}${shown(name, given[name])}`;
      }),
    );
  }
  if (!parsed.success || defects.length > 0) throw new ConfigError(defects);
  const settings = parsed.data;
  return { ...settings, WEIR_DATA_DIR: resolve(settings.WEIR_DATA_DIR), redisUrl: redisUrlOf(settings) };
}

/** They may hold a password. */
const SECRET = new Set(['REDIS_URL', 'REDIS_HOST', 'DATABASE_URL']);
const SHOWN_CHARACTERS_MAX = 40;

function shown(name: string, value: string | undefined): string {
  return SECRET.has(name) ? '' : ` (it is ${JSON.stringify(value?.slice(0, SHOWN_CHARACTERS_MAX))})`;
}

/** Looks at its two settings alone, so that it is reported together with defects of others. */
function heartbeatDefects(given: Readonly<Record<string, unknown>>): string[] {
  const { HEARTBEAT_MS, LEASE_TTL_MS } = configSchema.shape;
  const heartbeat = HEARTBEAT_MS.safeParse(given['HEARTBEAT_MS']);
  const lease = LEASE_TTL_MS.safeParse(given['LEASE_TTL_MS']);
  if (!heartbeat.success || !lease.success || heartbeat.data * 3 <= lease.data) return [];
  return ['HEARTBEAT_MS: must be at most a third of LEASE_TTL_MS'];
}

function replyDefects(given: Readonly<Record<string, unknown>>): string[] {
  const { REPLY_TTL_SECONDS, REPLY_DEADLINE_MS } = configSchema.shape;
  const ttl = REPLY_TTL_SECONDS.safeParse(given['REPLY_TTL_SECONDS']);
  const deadline = REPLY_DEADLINE_MS.safeParse(given['REPLY_DEADLINE_MS']);
  if (!ttl.success || !deadline.success || ttl.data * 1000 > deadline.data) return [];
  return ['REPLY_TTL_SECONDS: must be longer than REPLY_DEADLINE_MS'];
}

function redisUrlOf({ REDIS_URL, REDIS_HOST, REDIS_PORT }: Settings): string | undefined {
  if (REDIS_URL !== undefined || REDIS_HOST === undefined) return REDIS_URL;
  return `redis://${REDIS_HOST.includes(':') ? `[${REDIS_HOST}]` : REDIS_HOST}:${REDIS_PORT}`;
}
