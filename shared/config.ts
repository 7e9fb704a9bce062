import { z } from 'zod';
import { EVALUATE_DEDUPE_MS_MAX } from './messages/admissions.js';
import { databaseUrlDefect } from './postgres/database-url.js';
import { redisUrlDefect } from './redis/redis-url.js';

const number = () =>
  z.coerce.number({ error: ({ code }) => (code === 'invalid_type' ? 'must be a number' : undefined) });
const integer = (min: number, max: number) => number().int('must be a whole number').min(min).max(max);

const byteUnits: Readonly<Record<string, number>> = { kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 };

/** Redis takes 0 for no limit, and counts beyond 64 bits from the start again; an empty one of ours needs megabytes. */
function isRedisMemory(text: string): boolean {
  const bytes = Number.parseInt(text, 10) * (byteUnits[text.slice(-2)] ?? 1);
  return bytes >= 8 * 1024 ** 2 && bytes <= 1024 ** 5;
}

/** The URL of a store. `defectOf` says what is wrong with one that has a host and one of the schemes. */
const storeUrl = (protocol: RegExp, schemes: string, defectOf: (url: string) => string | undefined) =>
  z
    .url({ protocol, abort: true, error: ({ input }) => urlDefect(String(input), protocol, schemes) })
    .superRefine((url, context) => {
      const defect = new URL(url).hash === '' ? defectOf(url) : `it has a # that ends it: ${escapeHint}`;
      if (defect !== undefined) context.addIssue(defect);
    });

const escapeHint = 'in a user or password write %23 for #, %2F for / and %3F for ?';

/** Why it is none of ours. One that cannot be parsed has most often a password with a slash in it. */
function urlDefect(url: string, protocol: RegExp, schemes: string): string {
  const [scheme = ''] = url.trim().toLowerCase().split('://', 1);
  return protocol.test(scheme) && !URL.canParse(url)
    ? `has no valid host or port: ${escapeHint}`
    : `must be a URL that begins with ${schemes}`;
}

/**
 * Every setting of every process: the name is the environment variable. `describe` gives meaning and unit;
 * `docs/configuration.md` is generated from this schema.
 */
export const configSchema = z.object({
  PORT: integer(0, 65535).default(8080).describe('TCP port of the API; 0 picks a free one.'),
  HOST: z
    .string()
    .default('127.0.0.1')
    .describe('Address the API binds. Loopback by default, because there are no API keys yet.'),
  ALLOWED_HOSTS: z
    .string()
    .regex(/^[\w.:[\]-]+(, ?[\w.:[\]-]+)*$/, 'must be host names, separated by commas')
    .optional()
    .describe(
      'Names under which the API is reached, separated by commas, with or without a port; loopback names and the host of PUBLIC_URL always are. A request for another is answered 421.',
    ),
  PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('Where others reach the API, behind a proxy for example.'),
  OPS_PORT: integer(0, 65535)
    .default(0)
    .describe(
      "TCP port of a worker's own /metrics and /health; 0 picks a free one and logs it. `npm start` gives its second worker the next port, and so on.",
    ),
  OPS_HOST: z
    .string()
    .default('127.0.0.1')
    .describe("Address of a worker's own /metrics and /health. They name no tenant, and change nothing."),
  REDIS_URL: storeUrl(/^rediss?$/, 'redis:// or rediss://', redisUrlDefect)
    .optional()
    .describe('Redis to use. Unset: `npm start` runs a private one.'),
  REDIS_HOST: z
    .string()
    .regex(/^[A-Za-z0-9._:-]+$/, 'must be a host name or an address')
    .optional()
    .describe('Host of Redis, where REDIS_URL is not set.'),
  REDIS_PORT: integer(1, 65535).default(6379).describe('Port of Redis, used with REDIS_HOST.'),
  REDIS_MEMORY_MAX: z
    .string()
    .regex(/^\d{1,15}([kmg]b)?$/, { abort: true, error: 'must be bytes, or a number with kb, mb or gb' })
    .refine(isRedisMemory, 'must be from 8mb to 1048576gb')
    .optional()
    .describe(
      "Memory that the private Redis may use (bytes, or `512mb`, `2gb`); above it producers get 503. Unset: half of the machine's, or of the container's.",
    ),
  DATABASE_URL: storeUrl(/^postgres(ql)?$/, 'postgres:// or postgresql://', databaseUrlDefect)
    .optional()
    .describe(
      'Postgres to use, as a role that may create tables and roles. Unset: `npm start` runs a private one; `npm run consumer` keeps usage in Redis up to ARCHIVE_BACKLOG_BYTES_MAX, and no ledger of budgets.',
    ),
  DATABASE_POOL_MAX: integer(1, 100)
    .default(4)
    .describe('Connections to Postgres that one process opens at most.'),
  STORE_WAIT_SECONDS: integer(1, 86_400)
    .default(60)
    .describe(
      '`npm start` waits this long for a Redis or Postgres that it was given, in seconds; then it ends with 1.',
    ),
  WEIR_DATA_DIR: z.string().default('.weir').describe('Folder of the private stores; survives a restart.'),
  WEIR_NAMESPACE: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/)
    .default('weir')
    .describe('Prefix of every key and channel: several installations can share a Redis.'),
  WORKERS: integer(0, 64).default(2).describe('Worker processes that `npm start` runs.'),
  PARTITIONS: integer(1, 1024)
    .default(8)
    .describe('Partitions per topic. Recorded in Redis at the first start; another value is refused after.'),
  BODY_BYTES_MAX: integer(1, 64 * 1024 * 1024)
    .default(1024 * 1024)
    .describe('Largest request body, in bytes.'),
  IN_FLIGHT_MAX: integer(1, 1_000_000)
    .default(10_000)
    .describe(
      'Requests one API process works on at a time; more are refused with 503 `overloaded`. One whose body is not there yet is not worked on, and `/health`, `/ready` and `/metrics` are never refused.',
    ),
  UNFINISHED_BODIES_MAX: integer(1, 1_000_000)
    .default(10_000)
    .describe(
      'Bodies that one API process waits for at a time; beyond it only what comes together with its headers is taken, the rest is refused with 503 `overloaded`.',
    ),
  UNFINISHED_BODIES_BYTES_MAX: integer(1, 1024 ** 4)
    .default(256 * 1024 * 1024)
    .describe('Bytes of those bodies in memory, all together; more are refused with 503 `overloaded`.'),
  BACKLOG_MAX: integer(1, 100_000_000)
    .default(100_000)
    .describe('Messages one partition may hold that no worker has folded; more are refused with 429.'),
  DEDUPE_WINDOW_SECONDS: integer(1, 30 * 86_400)
    .default(3600)
    .describe('A message id is remembered for at least this many seconds, and at most twice as long.'),
  DEDUPE_IDS_MAX: integer(1024, 67_108_864)
    .default(8_388_608)
    .describe(
      'Ids remembered per partition and generation (8 B each in Redis). When full, the generation ends early.',
    ),
  LEASE_TTL_MS: integer(200, 600_000)
    .default(3000)
    .describe('A partition whose owner was killed is taken over after this many ms.'),
  HEARTBEAT_MS: integer(50, 60_000)
    .default(1000)
    .describe(
      'Interval of worker heartbeats, lease renewals and housekeeping, in ms. At most a third of the lease.',
    ),
  BATCH_MESSAGES_MAX: integer(1, 5000).default(2000).describe('Messages folded per commit.'),
  STATE_CACHE_MAX: integer(0, 10_000_000)
    .default(50_000)
    .describe('Documents a worker keeps in memory per partition.'),
  REDIS_COMMAND_TIMEOUT_MS: integer(10, 60_000)
    .default(800)
    .describe('A Redis command that takes longer is given up (503 at the API), in ms.'),
  REPLY_DEADLINE_MS: integer(10, 60_000)
    .default(2000)
    .describe(
      'How long a call that changes users, rules, budgets or an admission waits for the workers before it answers 202, in ms.',
    ),
  REPLY_TTL_SECONDS: integer(1, 86_400)
    .default(15)
    .describe('How long a stored reply is kept, in seconds. Longer than REPLY_DEADLINE_MS.'),
  DEAD_LETTERS_MAX: integer(1, 10_000_000)
    .default(10_000)
    .describe('Dead letters per partition. When full the partition stops, so that nothing is lost.'),
  OUTBOX_MAX: integer(1, 100_000_000)
    .default(2_000_000)
    .describe('Outbox entries per partition. When full the partition waits for its sinks.'),
  OUTBOX_BYTES_MAX: integer(1024 * 1024, 1024 ** 4)
    .default(1024 ** 3)
    .describe("Memory of one partition's outbox, in bytes. When full the partition waits for its sinks."),
  STALL_MS_MAX: integer(100, 600_000)
    .default(5000)
    .describe('A worker whose event loop stands still for this many ms ends itself, in ms.'),
  TRIPWIRE_WINDOW_SECONDS: integer(1, 86_400).default(300).describe('Tripwire: window, in seconds.'),
  TRIPWIRE_MAX_SHARE: number()
    .gt(0)
    .max(1)
    .default(0.05)
    .describe('Tripwire: trips when newly restricted users reach this share of the known users.'),
  TRIPWIRE_MAX_USERS: integer(0, 1_000_000_000)
    .default(0)
    .describe('Tripwire: trips when this many users were newly restricted in the window; 0 is no cap.'),
  TRIPWIRE_MIN_POPULATION: integer(0, 1_000_000_000)
    .default(20)
    .describe('Tripwire: never trips below this number of known users.'),
  WINDOW_SECONDS: integer(1, 60)
    .refine((seconds) => 60 % seconds === 0, 'must divide 60')
    .default(30)
    .describe(
      'Metering: length of a window, in seconds; divides 60. Recorded in Redis at the first start; another value is refused after.',
    ),
  ALLOWED_LATENESS_SECONDS: integer(0, 3600)
    .default(10)
    .describe('Metering: a window closes this many seconds after its end.'),
  REVISION_DELAY_MS: integer(0, 600_000)
    .default(2000)
    .describe('Metering: late events of a closed window are gathered this long into one revision, in ms.'),
  WINDOW_DIMENSIONS_MAX: integer(1, 1000)
    .default(100)
    .describe(
      'Metering: distinct endpoints, and distinct models, per window; what exceeds them counts under `__other__`.',
    ),
  WINDOW_HOT_HOURS: number()
    .gt(0)
    .max(24 * 366)
    .default(24)
    .describe('Metering: a window stays in Redis this long after its end, in hours.'),
  ARCHIVE_BACKLOG_BYTES_MAX: integer(1, 1024 ** 4)
    .default(256 * 1024 * 1024)
    .describe(
      'Metering: bytes of messages per partition that Postgres does not have yet; more are refused with 429.',
    ),
  ARCHIVE_DELAY_MS: integer(0, 60_000)
    .default(2000)
    .describe(
      'What is younger than this is not written to Postgres yet, in ms: Redis may forget its last second (appendfsync everysec).',
    ),
  ARCHIVE_BATCH_EVENTS_MAX: integer(1, 100_000)
    .default(5000)
    .describe('Events written to Postgres in one transaction.'),
  EVENTS_RETENTION_DAYS: integer(1, 3660)
    .default(35)
    .describe('Raw usage events are kept this many days; older ones are refused with 422.'),
  RECONCILE_INTERVAL_SECONDS: integer(1, 86_400)
    .default(60)
    .describe(
      'How often one worker proves that windows and raw events agree, and budgets and their ledger, in seconds.',
    ),
  BUDGET_WINDOW_SECONDS: integer(1, 31 * 86_400)
    .default(30)
    .describe(
      'Budgets: length of a window, in seconds, aligned to the epoch; a tenant may have one of its own (PUT /budgets).',
    ),
  HOLD_SECONDS: integer(0, 86_400)
    .default(0)
    .describe('Budgets: an admission that is not settled expires after this, in seconds; 0: the window.'),
  HOLD_EXPIRY: z
    .enum(['release', 'charge'])
    .default('release')
    .describe(
      'Budgets: what an admission that expires does with its tokens: gives them back, or charges them.',
    ),
  ADMISSION_KEEP_SECONDS: integer(1, 30 * 86_400)
    .default(3600)
    .describe(
      'Budgets: an admission that has ended stays readable for this long, in seconds; so does an end that came before its admission was known.',
    ),
  ADMISSION_DEDUPE_SECONDS: integer(1, 86_400)
    .default(300)
    .describe('Budgets: an identical request is the same admission for this long, in seconds.'),
  EVALUATE_DEDUPE_MS: integer(0, EVALUATE_DEDUPE_MS_MAX)
    .default(0)
    .describe(
      'Budgets: calls of `/v1/evaluate` with neither `request_id` nor `payload` whose bodies are equal are one for this long, in ms; 0: each is its own. Only once all workers know this setting.',
    ),
  ADMISSION_DEADLINE_MS: integer(10, 10_000)
    .default(250)
    .describe(
      'Budgets: an admission that no worker has decided after this many ms is answered by FAIL_MODE.',
    ),
  FAIL_MODE: z
    .enum(['open', 'closed'])
    .default('open')
    .describe(
      'Budgets: what is answered when nobody can decide: `open` admits up to FAIL_OPEN_TOKENS_MAX, `closed` answers 503 `undecided`.',
    ),
  FAIL_OPEN_TOKENS_MAX: integer(0, 1_000_000_000_000)
    .default(100_000)
    .describe(
      'Budgets: tokens that one API process admits undecided, over all tenants, in each window of BUDGET_WINDOW_SECONDS.',
    ),
  FAIL_OPEN_REPORTS_MAX: integer(1, 1_000_000)
    .default(10_000)
    .describe(
      'Budgets: undecided admissions that an API process remembers until the store is back; beyond it none are given.',
    ),
  LEDGER_RETENTION_DAYS: integer(1, 3660)
    .default(90)
    .describe('Entries of the budget ledger are kept in Postgres for this many days.'),
  SLOW_REQUEST_MS: integer(1, 600_000).default(500).describe('Requests slower than this are logged, in ms.'),
  SHUTDOWN_TIMEOUT_MS: integer(100, 600_000)
    .default(10_000)
    .describe('How long a process finishes what it has begun after SIGTERM, in ms.'),
  SHUTDOWN_DELAY_MS: integer(0, 600_000)
    .default(0)
    .describe(
      'How long an API process goes on serving after SIGTERM before it closes, in ms: `/ready` is 503 and answers close their connections, so that traffic goes elsewhere. Comes before SHUTDOWN_TIMEOUT_MS.',
    ),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('Least severe log level that is written.'),
});

export type Settings = z.infer<typeof configSchema>;

export interface Config extends Readonly<Settings> {
  /** Where Redis is: REDIS_URL, or made of REDIS_HOST and REDIS_PORT; undefined when neither is set. */
  readonly redisUrl: string | undefined;
}
