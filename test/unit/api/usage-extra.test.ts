import { expect } from 'chai';
import { EXTRA_BYTES_MAX, EXTRA_DEPTH_MAX, EXTRA_FIELDS_MAX } from '../../../api/usage/extra.js';
import { CALL, newReader, pathsOf, readMessage, refusalOf, withMetadata } from './usage-events.js';

describe('UsageReader: fields of metadata it does not know', () => {
  const extraOf = (metadata: string): unknown => readMessage(withMetadata(metadata)).data[6];
  const refused = (metadata: string): string[] => {
    const found = refusalOf(() => newReader().read(JSON.parse(withMetadata(metadata)), CALL));
    expect(found.code).to.equal('invalid_request');
    return pathsOf(found);
  };
  const nested = (levels: number): string => `${'[{"a":'.repeat(levels / 2)}1${'}]'.repeat(levels / 2)}`;

  it('keeps them with their nesting, beside the known ones', () => {
    const extra =
      '{"region":"eu","n":-0.5,"big":1e300,"yes":true,"none":null,"deep":{"a":[1,{"b":"ü\\n"}]},"":""}';
    expect(extraOf(`{"tokens":1,${extra.slice(1)}`)).to.deep.equal(JSON.parse(extra));
    expect(readMessage(withMetadata('{"tokens":1}')).data).to.have.length(6);
  });

  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'toJSON', 'Tokens']) {
    it(`keeps ${name}, a name like any other`, () => {
      const extra = `{"${name}":{"tokens":5,"${name}":1}}`;
      const message = readMessage(withMetadata(extra));
      expect(JSON.stringify(message.data)).to.equal(`["/api/completion",0,0,0,null,null,${extra}]`);
    });
  }

  it(`takes ${EXTRA_FIELDS_MAX} fields, not one more`, () => {
    const fields = (count: number): string =>
      JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i])));
    expect(Object.keys(extraOf(fields(EXTRA_FIELDS_MAX)) as object)).to.have.length(EXTRA_FIELDS_MAX);
    expect(refused(fields(EXTRA_FIELDS_MAX + 1))).to.deep.equal(['metadata']);
    expect(refused(fields(10_000))).to.deep.equal(['metadata']);
  });

  it(`takes ${EXTRA_DEPTH_MAX} levels, not one more`, () => {
    const deepest = nested(EXTRA_DEPTH_MAX);
    expect(extraOf(`{"x":${deepest}}`)).to.deep.equal({ x: JSON.parse(deepest) });
    expect(refused(`{"x":[${deepest}]}`)).to.deep.equal(['metadata.x']);
    expect(refused(`{"x":${nested(20_000)}}`)).to.deep.equal(['metadata.x']);
    expect(refused(`{"x":${'['.repeat(400_000)}${']'.repeat(400_000)}}`)).to.deep.equal(['metadata.x']);
  });

  it(`takes ${EXTRA_BYTES_MAX} bytes of JSON, counted in UTF-8, not one more`, () => {
    const ofBytes = (bytes: number, fill: string): string => {
      const each = Buffer.byteLength(fill);
      const room = bytes - '{"x":""}'.length;
      return `{"x":"${fill.repeat(Math.floor(room / each))}${'a'.repeat(room % each)}"}`;
    };
    for (const fill of ['a', 'ü', '€', '😀']) {
      const most = ofBytes(EXTRA_BYTES_MAX, fill);
      expect(Buffer.byteLength(most)).to.equal(EXTRA_BYTES_MAX);
      expect(extraOf(most)).to.deep.equal(JSON.parse(most));
      expect(refused(ofBytes(EXTRA_BYTES_MAX + 1, fill))).to.deep.equal(['metadata']);
    }
    expect(refused(`{"x":[${Array(300_000).fill(1)}]}`)).to.deep.equal(['metadata']);
  });

  const hostile: readonly (readonly [what: string, metadata: string, path: string])[] = [
    ['1e999', '{"x":1e999}', 'metadata.x'],
    ['-1e999 deep inside', '{"x":{"y":[-1e999]}}', 'metadata.x'],
    ['U+0000', '{"x":"a\\u0000"}', 'metadata.x'],
    ['U+0000 deep inside', '{"x":["\\u0000"]}', 'metadata.x'],
    ['a lone surrogate', '{"x":"\\ud800"}', 'metadata.x'],
    ['a reversed pair', '{"x":{"y":"\\udc00\\ud800"}}', 'metadata.x'],
    ['U+0000 in a name', '{"a\\u0000":1}', 'metadata.a\0'],
    ['U+0000 in a name deep inside', '{"x":[{"a\\u0000":1}]}', 'metadata.x'],
    ['a lone surrogate in a name', '{"\\udfff":1}', 'metadata.\ufffd'],
    ['a defect after good fields', '{"a":1,"b":"c","x":1e999}', 'metadata.x'],
  ];
  for (const [what, metadata, path] of hostile) {
    it(`refuses ${what}`, () => {
      expect(refused(metadata)).to.deep.equal([path]);
    });
  }
});
