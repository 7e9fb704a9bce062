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
    'that finds mistakes names all of them and exits with 1. `npm start` passes its environment on to the API and the',
    'workers it runs; where each process is started by itself, they need the same `REDIS_URL`, `WEIR_NAMESPACE` and',
    '`PARTITIONS`.',
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
