import { expect } from 'chai';
import fc from 'fast-check';
import { isTooDeep, LEVELS_MAX } from '../../../api/http/nesting.js';

describe('isTooDeep', () => {
  const arrays = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
  const objects = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

  it('takes 64 levels, not one more', () => {
    for (const nested of [arrays, objects]) {
      expect(isTooDeep(nested(LEVELS_MAX))).to.equal(false);
      expect(isTooDeep(nested(LEVELS_MAX + 1))).to.equal(true);
    }
    expect(isTooDeep(`[${objects(LEVELS_MAX)}]`)).to.equal(true);
  });

  it('takes any number of neighbours', () => {
    expect(isTooDeep(`[${Array.from({ length: 1000 }, () => objects(LEVELS_MAX - 1)).join()}]`)).to.equal(
      false,
    );
  });

  it('does not count the brackets of texts, nor is it misled by their quotes', () => {
    for (const text of ['['.repeat(100), '"'.repeat(100), '\\'.repeat(99), `\\"${'['.repeat(100)}`]) {
      expect(isTooDeep(JSON.stringify([text, arrays(100), text]))).to.equal(false);
      // A closing bracket in a text closes nothing.
      const closing = JSON.stringify(`${text}]`);
      expect(isTooDeep(`[${closing},`.repeat(LEVELS_MAX + 1))).to.equal(true);
    }
    expect(isTooDeep(`${'['.repeat(64)}"[`)).to.equal(false);
  });

  it('says of any JSON how deep it is', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
    const wrapped = fc.tuple(fc.jsonValue({ maxDepth: 6 }), fc.integer({ min: 55, max: 66 }), fc.string());
    fc.assert(
      fc.property(wrapped, ([value, levels, name]) => {
        let nested: unknown = value;
        for (let level = 0; level < levels; level++)
          nested = level % 2 === 0 ? [name, nested, '['] : { [name]: nested };
        expect(isTooDeep(JSON.stringify(nested))).to.equal(depthOf(nested) > LEVELS_MAX);
      }),
    );
  });

  it('looks at a megabyte of brackets in a moment', () => {
    const before = process.cpuUsage();
    expect(isTooDeep('['.repeat(1024 * 1024))).to.equal(true);
    expect(process.cpuUsage(before).user).to.be.below(50_000);
  });
});
