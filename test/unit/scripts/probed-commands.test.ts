import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Keys } from '../../../shared/keys.js';
import { probedCommands } from '../../../shared/redis/rights.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
/** Of the driver, not of Redis; and what is our own in a commit. */
const NO_COMMANDS = new Set([
  'CALL',
  'PCALL',
  'DISCONNECT',
  'ON',
  'ONCE',
  'OFF',
  'CONNECT',
  'COMPACT',
  'REPLY',
]);
/** By which a Redis that may not be ours is looked at. */
const ELSEWHERE = ['shared/launcher/', 'shared/redis/rights.ts'];

describe('the probe of rights', () => {
  it('covers every command that a script or a module sends', () => {
    const sent = new Set<string>();
    for (const folder of ['api', 'consumer', 'shared']) {
      for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
        const path = `${folder}/${file}`;
        if (!/\.(lua|ts)$/.test(file) || ELSEWHERE.some((start) => path.startsWith(start))) continue;
        const text = readFileSync(join(root, path), 'utf8');
        for (const pattern of [
          /redis\.p?call\('([A-Z]+)'/g,
          /commands\.(?:add|addSplit)\('([A-Z]+)'/g,
          /\b(?:redis|subscriber)\s*\.([a-z]+)(?:Buffer)?\(/g,
        ]) {
          for (const [, name = ''] of text.matchAll(pattern)) sent.add(name.toUpperCase());
        }
      }
    }
    expect(sent.size).to.be.above(40);
    const probed = probedCommands(new Keys('weir'));
    expect([...sent].filter((name) => !probed.has(name) && !NO_COMMANDS.has(name))).to.deep.equal([]);
  });
});
