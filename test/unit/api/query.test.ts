import { expect } from 'chai';
import { optionalInteger, parseQuery } from '../../../api/http/query.js';
import { Refusal } from '../../../api/refusal.js';

describe('parseQuery', () => {
  const cases: readonly (readonly [url: string, parameters: [string, string][]])[] = [
    ['/x', []],
    ['/x?', []],
    ['/x?a=1', [['a', '1']]],
    [
      '/x?a=1&b=2&',
      [
        ['a', '1'],
        ['b', '2'],
      ],
    ],
    ['/x?&&a=1', [['a', '1']]],
    ['/x?a', [['a', '']]],
    ['/x?a=b=c', [['a', 'b=c']]],
    [
      '/x?a&b=c=d',
      [
        ['a', ''],
        ['b', 'c=d'],
      ],
    ],
    ['/x?a=b%20c+d', [['a', 'b c d']]],
    ['/x?a=%2B%26%3D', [['a', '+&=']]],
    ['/x?a=?', [['a', '?']]],
    ['/x?__proto__=1', [['__proto__', '1']]],
  ];
  for (const [url, parameters] of cases) {
    it(`reads ${url}`, () => {
      expect([...parseQuery(url)]).to.deep.equal(parameters);
    });
  }

  for (const url of ['/x?a=1&a=1', '/x?a&a', '/x?a=1&%61=2', '/x?a=%', '/x?%zz=1', '/x?a=%ff']) {
    it(`refuses ${url}`, () => {
      expect(() => parseQuery(url))
        .to.throw(Refusal)
        .with.property('code', 'invalid_request');
    });
  }
});

describe('optionalInteger', () => {
  const bounds = { min: 1, max: 10, otherwise: 5 };
  it('takes a whole number within its bounds, or the default', () => {
    expect(optionalInteger(new Map([['n', '10']]), 'n', bounds)).to.equal(10);
    expect(optionalInteger(new Map(), 'n', bounds)).to.equal(5);
  });
  for (const text of ['0', '11', '', '1.5', '-1', '1e1', ' 1', '0x1', '9'.repeat(400)]) {
    it(`refuses ${JSON.stringify(text.slice(0, 10))}`, () => {
      expect(() => optionalInteger(new Map([['n', text]]), 'n', bounds)).to.throw(Refusal);
    });
  }
});
