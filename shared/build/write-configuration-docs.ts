import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { configSchema } from '../config.js';

/** Where the file lies, seen from dist/shared/build/. */
export const configurationDocsPath = fileURLToPath(
  new URL('../../../docs/configuration.md', import.meta.url),
);

interface Setting {
  readonly description: string;
  readonly type?: string;
  readonly default?: string | number;
  readonly enum?: readonly string[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
}

const SHARED = [
  '## What processes must share',
  '',
  '`npm start` passes its environment on to all that it runs. Where each process is started by itself, give all of one',
  'installation the same environment, also `npm run reconcile`. What goes wrong otherwise:',
  '',
  '- `REDIS_URL`, `DATABASE_URL`, `WEIR_NAMESPACE`: they work on different data. A database belongs to the namespace and the',
  '  partition count that came first; another installation does not use it.',
  '- `PARTITIONS`, `WINDOW_SECONDS`: recorded in Redis at the first start; a process with another value exits with 1.',
  '- Workers among each other, everything that a fold uses: `DEDUPE_*`, `TRIPWIRE_*`, `ALLOWED_LATENESS_SECONDS`,',
  '  `REVISION_DELAY_MS`, `WINDOW_*`, `BUDGET_WINDOW_SECONDS`, `HOLD_*`, `ADMISSION_KEEP_SECONDS`, `ADMISSION_DEDUPE_SECONDS`.',
  '  A partition would decide by whoever owns it just now. So would the bounds of partitions (`DEAD_LETTERS_MAX`, `OUTBOX_*`).',
  '- API and workers: `LEASE_TTL_MS` (who counts as alive), `REPLY_DEADLINE_MS` below `REPLY_TTL_SECONDS`,',
  '  `BUDGET_WINDOW_SECONDS`, `HOLD_SECONDS` and `ADMISSION_DEDUPE_SECONDS` (what the API admits undecided),',
  '  `EVENTS_RETENTION_DAYS`, and what it only shows: `TRIPWIRE_*`, the times of metering.',
  '- API processes among each other: what they refuse and admit (`BACKLOG_MAX`, `ARCHIVE_BACKLOG_BYTES_MAX`, `BODY_BYTES_MAX`,',
  '  `FAIL_MODE`, `EVALUATE_DEDUPE_MS`, `ALLOWED_HOSTS`), or it depends on which one a caller meets.',
  '',
  'What may differ: addresses and ports, pools and caches, timeouts of one process, `LOG_LEVEL`.',
];

/** The text of docs/configuration.md: one row per field of the schema. */
export function configurationDocs(): string {
  const { properties } = z.toJSONSchema(configSchema, { io: 'output' });
  const rows = Object.entries(properties as Readonly<Record<string, Setting>>).map(
    ([name, setting]) =>
      `| \`${name}\` | ${defaultOf(setting)} | ${valuesOf(setting)} | ${escaped(setting.description)} |`,
  );
  return [
    '# Configuration',
    '',
    '<!-- Generated from shared/config.ts by `npm run docs:configuration`; a test compares the two. -->',
    '',
    'Every setting is an environment variable, read once when a process starts. An empty one counts as unset. A process',
    'that finds mistakes names all of them and exits with 1, and warns of a variable whose name is nearly one of these.',
    '',
    ...SHARED,
    '',
    '## Settings',
    '',
    '| Variable | Default | Values | Meaning |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

function defaultOf(setting: Setting): string {
  return setting.default === undefined ? 'unset' : code(String(setting.default));
}

function valuesOf(setting: Setting): string {
  if (setting.enum !== undefined) return setting.enum.map(code).join(', ');
  if (setting.format === 'uri') return 'URL';
  if (setting.pattern !== undefined) return code(setting.pattern);
  if (setting.type === 'string') return 'text';
  const { minimum, exclusiveMinimum, maximum } = setting;
  return `${exclusiveMinimum === undefined ? minimum : `above ${exclusiveMinimum}`} to ${maximum}`;
}

function code(text: string): string {
  return `\`${escaped(text)}\``;
}

/** A bar would end the cell, in code too. */
function escaped(text: string): string {
  return text.replaceAll('|', '\\|');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(configurationDocsPath, configurationDocs());
}
