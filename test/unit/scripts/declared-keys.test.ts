import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { undeclaredKeys } from '../../support/undeclared-keys.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

/** The scripts of the repository, with what they include. */
function scripts(): [name: string, lua: string][] {
  const read = (file: string): string => readFileSync(join(root, file), 'utf8');
  const files = ['consumer', 'shared'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.lua'))
      .map((file) => `${folder}/${file}`),
  );
  const included = new Set<string>();
  const whole = files.map((file): [string, string] => {
    const lua = read(file).replace(/^--<include (\S+)>$/gm, (_line, path: string) => {
      included.add(path);
      return read(path);
    });
    return [file, lua];
  });
  // What is included is judged where it is called.
  return whole.filter(([file]) => !included.has(file));
}

describe('the scripts', () => {
  for (const [name, lua] of scripts()) {
    it(`${name} touches no key but those it declares`, () => {
      expect(undeclaredKeys(lua)).to.deep.equal([]);
    });
  }

  for (const [what, lua, found] of [
    ['an argument', `redis.call('GET', ARGV[1])`, `redis.call('GET', ARGV[1])`],
    [
      'a key that the script makes',
      `redis.call('GET', KEYS[1] .. ':x')`,
      `redis.call('GET', KEYS[1] .. ':x')`,
    ],
    ['a literal', `redis.pcall('DEL', 'weir:x')`, `redis.pcall('DEL', 'weir:x')`],
    ['a local of an argument', `local key = ARGV[1]\nredis.call('GET', key)`, `redis.call('GET', key)`],
    [
      'a parameter that some caller gives an argument',
      `local function read(key)\n  return redis.call('GET', key)\nend\nread(KEYS[1])\nread(ARGV[1])`,
      `redis.call('GET', key)`,
    ],
    ['the second of several', `redis.call('DEL', KEYS[1], ARGV[2])`, `redis.call('DEL', KEYS[1], ARGV[2])`],
    [
      'a list of arguments',
      `redis.call('EXISTS', unpack(ARGV, 1, 3))`,
      `redis.call('EXISTS', unpack(ARGV, 1, 3))`,
    ],
    [
      'a list that holds an argument where its keys are',
      `local words = {}\nwords[1] = ARGV[1]\nredis.call('MSET', unpack(words))`,
      `redis.call('MSET', unpack(words))`,
    ],
    ['a whole command of arguments', `redis.call(unpack(ARGV, 1, 3))`, `redis.call(unpack(ARGV, 1, 3))`],
    [
      'a stream that is not declared',
      `redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', ARGV[1], '>')`,
      `redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', ARGV[1], '>')`,
    ],
  ] as const) {
    it(`is told of ${what}`, () => {
      expect(undeclaredKeys(lua)).to.deep.equal([found]);
    });
  }
});
