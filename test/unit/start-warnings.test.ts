import { expect } from 'chai';
import { jsonDefects } from '../../shared/start-warnings.js';

describe('the test of how Node reads JSON', () => {
  it('finds nothing in the versions of Node that are advised', () => {
    expect(jsonDefects()).to.deep.equal([]);
  });

  it('warns where an escaped key becomes the backslash that another text had in its place, as in Node 24', () => {
    let seen = false;
    const parse = (text: string): unknown => {
      const value = JSON.parse(text) as Record<string, unknown>;
      const backslash = '\\' in value;
      const garbled =
        seen && !backslash
          ? Object.keys(value).map((key) => (key === '\n' ? '\\' : key))
          : Object.keys(value);
      seen ||= backslash;
      return Object.fromEntries(garbled.map((key) => [key, 0]));
    };
    const [warning, ...more] = jsonDefects(parse);
    expect(warning).to.match(
      /^Node \d+\.\d+\.\d+ reads escaped keys of JSON objects wrongly .+ Use Node 22\.$/,
    );
    expect(more).to.deep.equal([]);
  });
});
