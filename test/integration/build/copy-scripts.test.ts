import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';

const script = 'shared/build/copy-scripts.mjs';

/** The files of dist after a build of a repository that consists of `files`. */
function build(files: readonly string[]): readonly string[] {
  const root = mkdtempSync(join(tmpdir(), 'weir-build-'));
  try {
    for (const file of files) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), '');
    }
    mkdirSync(join(root, dirname(script)), { recursive: true });
    cpSync(script, join(root, script));
    const { status, stderr } = spawnSync(process.execPath, [join(root, script)], { encoding: 'utf8' });
    expect(status, stderr).to.equal(0);
    const left = readdirSync(join(root, 'dist'), { recursive: true, withFileTypes: true });
    return left.filter((entry) => entry.isFile()).map(({ name }) => name);
  } finally {
    rmSync(root, { recursive: true });
  }
}

const folders = ['api/x.ts', 'consumer/x.ts', 'shared/postgres/migrations/0001_x.sql'];

describe('the build', () => {
  it('removes what no longer has a source: a deleted test is not run, nor a deleted migration', () => {
    const kept = ['dist/test/unit/kept.test.js', 'dist/test/unit/kept.test.js.map', 'dist/.tsbuildinfo'];
    const gone = [
      ...['dist/test/unit/gone.test.js', 'dist/test/unit/gone.test.js.map', 'dist/rules/gone.js'],
      ...['dist/api/gone.lua', 'dist/loadtest/bench/gone.js'],
      'dist/shared/postgres/migrations/0002_gone.sql',
    ];
    const left = build([...folders, 'test/unit/kept.test.ts', ...kept, ...gone]);
    expect(left).to.have.members(['kept.test.js', 'kept.test.js.map', '.tsbuildinfo', '0001_x.sql']);
  });

  it('copies scripts and migrations beside the modules that use them', () => {
    const left = build([...folders, 'test/support/x.ts', 'consumer/engine/commit.lua']);
    expect(left).to.have.members(['commit.lua', '0001_x.sql']);
  });
});
