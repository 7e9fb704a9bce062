import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { expect } from 'chai';

const root = new URL('../../../../', import.meta.url);
const files = readdirSync(new URL('rules/', root), { recursive: true, encoding: 'utf8' })
  .map((file) => posix.join('rules', file.replaceAll('\\', '/')))
  .filter((file) => file.endsWith('.ts'));

const source = (file: string) => readFileSync(new URL(file, root), 'utf8');

/** `import type { A } from 'x'` and `import { type A, type B } from 'x'` leave nothing behind at run time. */
function isTypeOnly(clause: string): boolean {
  if (clause.startsWith('type ')) return true;
  const names = clause.match(/^\{([\s\S]*)\}$/)?.[1]?.split(',') ?? [''];
  return names.every((name) => name.trim() === '' || name.trim().startsWith('type '));
}

const IMPURE =
  /(?<![\w.])(?:Date|Math\.random|performance|process|crypto|setTimeout|setImmediate|async|import\()(?!\w)/g;

/** Why this import has no place in rules/; undefined when it has. */
function importDefect(file: string, clause: string, from: string): string | undefined {
  if (!from.startsWith('.')) return `imports ${from}`;
  const target = posix.join(posix.dirname(file), from);
  if (target.startsWith('rules/')) return undefined;
  if (!target.startsWith('shared/')) return `imports ${target}`;
  const holdsPureValues = target.startsWith('shared/messages/') || target.startsWith('shared/state/');
  return holdsPureValues || isTypeOnly(clause) ? undefined : `imports values of ${target}`;
}

function defectsOf(file: string, text: string): string[] {
  const imports = [...text.matchAll(/^(?:import|export)\s+([^;'"]*?)\s*from\s+'([^']+)'/gm)];
  const defects = imports.flatMap(([, clause = '', from = '']) => importDefect(file, clause, from) ?? []);
  // Comments and texts may speak of anything.
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '').replace(/'[^'\n]*'/g, "''");
  return [...defects, ...[...code.matchAll(IMPURE)].map(([used]) => `uses ${used}`)];
}

describe('the folder rules/', () => {
  it('imports only itself, types, and the pure values of shared/messages and shared/state; no clock, no chance', () => {
    expect(files).to.include('rules/restrictions/registry.ts');
    expect(
      files.flatMap((file) => defectsOf(file, source(file)).map((defect) => `${file} ${defect}`)),
    ).to.deep.equal([]);
  });

  it('would be found out', () => {
    const found = (text: string) => defectsOf('rules/restrictions/x.ts', text);
    expect(found("import { readFileSync } from 'node:fs';")).to.deep.equal(['imports node:fs']);
    expect(found("import { z } from 'zod';")).to.deep.equal(['imports zod']);
    expect(found("import type { Redis } from 'ioredis';")).to.deep.equal(['imports ioredis']);
    expect(found("import { Keys } from '../../shared/keys.js';")).to.deep.equal([
      'imports values of shared/keys.js',
    ]);
    expect(found("import {\n  type Effect,\n  Keys,\n} from '../../shared/keys.js';")).to.deep.equal([
      'imports values of shared/keys.js',
    ]);
    expect(found("import { type Effect } from '../../shared/effects.js';")).to.deep.equal([]);
    expect(found("import type { Input } from '../../consumer/engine/processor.js';")).to.deep.equal([
      'imports consumer/engine/processor.js',
    ]);
    expect(found('const now = Date.now();')).to.deep.equal(['uses Date']);
    expect(found('const x = 1 + Math.random();')).to.deep.equal(['uses Math.random']);
    expect(found('const t = performance.now();')).to.deep.equal(['uses performance']);
    expect(found("const a = await import('node:fs');")).to.deep.equal(['uses import(']);
    expect(found('/** No Date.now() here. */ const update = 1;')).to.deep.equal([]);
  });
});
