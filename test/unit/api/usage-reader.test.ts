import { expect } from 'chai';
import { statusOf } from '../../../api/http/problem.js';
import { usageIdOf } from '../../../api/usage/usage-reader.js';
import { messageDefect } from '../../../shared/messages/record-batch.js';
import { FUTURE_MS_MAX } from '../../../shared/messages/usage.js';
import { partitionOf } from '../../../shared/topics.js';
import {
  CALL,
  NOW,
  newReader,
  PARTITIONS,
  pathsOf,
  RETENTION_DAYS,
  readMessage,
  refusalOf,
  usageText,
  withMetadata,
} from './usage-events.js';

describe('UsageReader', () => {
  const refusal = (text: string, tenant?: string) =>
    refusalOf(() => newReader().read(JSON.parse(text), { ...CALL, tenant }));
  const at = (ms: number): string => usageText({ timestamp: JSON.stringify(new Date(ms).toISOString()) });

  it("makes the seed's example a message of its customer's partition", () => {
    const text = `{"eventId":"3f0c","timestamp":"2026-11-20T12:59:59.5+01:00","tenantId":"acme","customerId":"Zoë",
      "apiEndpoint":"/api/completion","metadata":{"tokens":1500,"model":"gpt-4","latencyMs":234,"inputTokens":500,"outputTokens":1000}}`;
    const { slot, id, text: message } = newReader().read(JSON.parse(text), { ...CALL, request: 'r"1' });
    expect(JSON.parse(message)).to.deep.equal({
      ...{ type: 'usage', tenant: 'acme', subject: 'Zoë', id: '3f0c', timestamp: NOW - 500 },
      ...{ data: ['/api/completion', 1500, 500, 1000, 'gpt-4', 234_000], request: 'r"1' },
    });
    expect(id).to.equal('3f0c');
    const index = partitionOf('acme', 'Zoë', PARTITIONS);
    expect(slot.partition).to.deep.equal({ topic: 'usage', index });
  });

  it('leaves the request out where none is given', () => {
    const message = readMessage(usageText());
    expect(message).not.to.have.property('request');
    expect(messageDefect(message)).to.equal(undefined);
  });

  it('knows a customer again, and tells the same name of two tenants apart', () => {
    const reader = newReader();
    const subjects = ['acme', 'globex', 'acme', 'globex'].map((tenant) => {
      const message = readMessage(usageText({ tenantId: JSON.stringify(tenant) }), CALL, reader);
      return `${message.tenant} ${message.subject}`;
    });
    expect(subjects).to.deep.equal(['acme c1', 'globex c1', 'acme c1', 'globex c1']);
  });

  const kept: readonly (readonly [metadata: string | undefined, data: unknown[]])[] = [
    [undefined, [0, 0, 0, null, null]],
    ['null', [0, 0, 0, null, null]],
    ['{}', [0, 0, 0, null, null]],
    ['{"tokens":null,"inputTokens":null,"model":null,"latencyMs":null}', [0, 0, 0, null, null]],
    ['{"tokens":7}', [7, 0, 0, null, null]],
    ['{"inputTokens":7}', [7, 7, 0, null, null]],
    ['{"inputTokens":7,"outputTokens":5,"tokens":null}', [12, 7, 5, null, null]],
    ['{"inputTokens":7,"outputTokens":5,"tokens":0}', [0, 7, 5, null, null]],
    ['{"tokens":1000000000,"inputTokens":1000000000}', [1e9, 1e9, 0, null, null]],
    ['{"tokens":1.5e3}', [1500, 0, 0, null, null]],
    ['{"tokens":-0,"latencyMs":-0}', [0, 0, 0, null, 0]],
    ['{"latencyMs":234}', [0, 0, 0, null, 234_000]],
    ['{"latencyMs":0.0004}', [0, 0, 0, null, 0]],
    ['{"latencyMs":0.0005}', [0, 0, 0, null, 1]],
    ['{"latencyMs":1.0015}', [0, 0, 0, null, 1002]],
    ['{"latencyMs":86400000}', [0, 0, 0, null, 86_400_000_000]],
    [`{"model":"${'😀'.repeat(128)}"}`, [0, 0, 0, '😀'.repeat(128), null]],
    ['{"model":"__proto__"}', [0, 0, 0, '__proto__', null]],
    ['{"model":"a\\"\\\\\\n\\u2028\\u0001b"}', [0, 0, 0, 'a"\\\n\u2028\u0001b', null]],
  ];
  for (const [metadata, data] of kept) {
    it(`reads metadata ${metadata?.slice(0, 60)}`, () => {
      const message = readMessage(usageText({ metadata }));
      expect(message.data).to.deep.equal(['/api/completion', ...data]);
    });
  }

  const REQUIRED = ['eventId', 'timestamp', 'tenantId', 'customerId', 'apiEndpoint'];
  const long = (characters: number): string => JSON.stringify('x'.repeat(characters));
  const refused: readonly (readonly [what: string, text: string, paths: readonly string[]])[] = [
    ['null', 'null', ['']],
    ['a text', '"usage"', ['']],
    ['an array', '[]', ['']],
    ['an empty object', '{}', REQUIRED],
    ['no event id', usageText({ eventId: undefined }), ['eventId']],
    ['an event id that is null', usageText({ eventId: 'null' }), ['eventId']],
    ['an empty event id', usageText({ eventId: '""' }), ['eventId']],
    ['an event id that is a number', usageText({ eventId: '1' }), ['eventId']],
    ['an event id of 129 characters', usageText({ eventId: long(129) }), ['eventId']],
    ['an event id of 300 characters', usageText({ eventId: long(300) }), ['eventId']],
    ['U+0000 in the event id', usageText({ eventId: '"a\\u0000"' }), ['eventId']],
    ['a lone surrogate in the event id', usageText({ eventId: '"a\\ud800"' }), ['eventId']],
    ['a timestamp in ms', usageText({ timestamp: '1800000000000' }), ['timestamp']],
    ['a timestamp without zone', usageText({ timestamp: '"2026-11-20T12:00:00"' }), ['timestamp']],
    ['a date', usageText({ timestamp: '"2026-11-20"' }), ['timestamp']],
    ['a tenant with a blank', usageText({ tenantId: '"a b"' }), ['tenantId']],
    ['a tenant with a quote', usageText({ tenantId: '"a\\"b"' }), ['tenantId']],
    ['a tenant that ends in a newline', usageText({ tenantId: '"acme\\n"' }), ['tenantId']],
    ['a tenant of 65 characters', usageText({ tenantId: long(65) }), ['tenantId']],
    ['an empty tenant', usageText({ tenantId: '""' }), ['tenantId']],
    ['a tenant that is an array', usageText({ tenantId: '["acme"]' }), ['tenantId']],
    ['no tenant', usageText({ tenantId: undefined }), ['tenantId']],
    ['a tenant that is null', usageText({ tenantId: 'null' }), ['tenantId']],
    ['a customer that is a number', usageText({ customerId: '7' }), ['customerId']],
    ['a lone surrogate in the customer', usageText({ customerId: '"\\udc00a"' }), ['customerId']],
    ['an endpoint of 513 characters', usageText({ apiEndpoint: long(513) }), ['apiEndpoint']],
    ['an endpoint with U+0000', usageText({ apiEndpoint: '"\\u0000"' }), ['apiEndpoint']],
    ['an unknown field', usageText({ metaData: '{}' }), ['metaData']],
    ['__proto__ as a field', usageText({ ['__proto__']: '{"eventId":"x"}' }), ['__proto__']],
    ['__proto__ instead of the rest', '{"__proto__":{"eventId":"e"}}', [...REQUIRED, '__proto__']],
    ['metadata that is an array', withMetadata('[]'), ['metadata']],
    ['metadata that is a text', withMetadata('"x"'), ['metadata']],
    ['negative tokens', withMetadata('{"tokens":-1}'), ['metadata.tokens']],
    ['half a token', withMetadata('{"tokens":0.5}'), ['metadata.tokens']],
    ['1e999 tokens', withMetadata('{"tokens":1e999}'), ['metadata.tokens']],
    ['tokens as text', withMetadata('{"inputTokens":"1"}'), ['metadata.inputTokens']],
    ['tokens that are true', withMetadata('{"outputTokens":true}'), ['metadata.outputTokens']],
    ['too many tokens', withMetadata('{"tokens":1000000001}'), ['metadata.tokens']],
    [
      'too many tokens in sum',
      withMetadata('{"inputTokens":1000000000,"outputTokens":1}'),
      ['metadata.tokens'],
    ],
    ['a negative latency', withMetadata('{"latencyMs":-0.001}'), ['metadata.latencyMs']],
    ['an endless latency', withMetadata('{"latencyMs":1e999}'), ['metadata.latencyMs']],
    ['a latency above a day', withMetadata('{"latencyMs":86400000.001}'), ['metadata.latencyMs']],
    ['a latency as text', withMetadata('{"latencyMs":"5"}'), ['metadata.latencyMs']],
    ['an empty model', withMetadata('{"model":""}'), ['metadata.model']],
    ['a model of 129 characters', withMetadata(`{"model":${long(129)}}`), ['metadata.model']],
    ['a model that is a number', withMetadata('{"model":4}'), ['metadata.model']],
  ];
  for (const [what, text, paths] of refused) {
    it(`refuses ${what}`, () => {
      const found = refusal(text);
      expect(found.code).to.equal('invalid_request');
      expect(pathsOf(found)).to.deep.equal(paths);
    });
  }

  it('names every defect, never quoting a value', () => {
    const found = refusal(
      usageText({ eventId: '"secret\\u0000"', metadata: '{"tokens":-5,"latencyMs":"secret"}', x: '1' }),
    );
    expect(found.extras.errors).to.deep.equal([
      { path: 'eventId', message: 'must not contain U+0000 or lone surrogates' },
      { path: 'metadata.tokens', message: 'must be a whole number from 0 to 1000000000' },
      { path: 'metadata.latencyMs', message: 'must be a number from 0 to 86400000' },
      { path: 'x', message: 'is not known' },
    ]);
    expect(found.detail).to.equal('eventId must not contain U+0000 or lone surrogates.');
  });

  it('bounds what it says about a body full of unknown fields', () => {
    const fields = Array.from({ length: 5000 }, (_, i) => [`${'k'.repeat(500)}${i}`, '1']);
    const found = refusal(usageText(Object.fromEntries(fields)));
    expect(found.extras.errors).to.have.length(20);
    expect(JSON.stringify(found.extras).length).to.be.below(4000);
  });

  it('refuses what lies more than an hour ahead, and nothing nearer', () => {
    expect(readMessage(at(NOW + FUTURE_MS_MAX)).timestamp).to.equal(NOW + FUTURE_MS_MAX);
    const found = refusal(at(NOW + FUTURE_MS_MAX + 1));
    expect([found.code, statusOf(found.code)]).to.deep.equal(['timestamp_in_future', 422]);
    expect(found.extras.errors).to.deep.equal([
      { path: 'timestamp', message: 'lies more than 60 minutes in the future' },
    ]);
  });

  it('refuses what is older than the retention, and nothing younger', () => {
    const oldest = NOW - RETENTION_DAYS * 86_400_000;
    expect(readMessage(at(oldest)).timestamp).to.equal(oldest);
    const found = refusal(at(oldest - 1));
    expect([found.code, statusOf(found.code)]).to.deep.equal(['timestamp_too_old', 422]);
    expect(found.detail).to.equal('timestamp is older than the 35 days that events are kept.');
  });

  it("takes the caller's tenant where the event names none", () => {
    const call = { ...CALL, tenant: 'acme' };
    expect(readMessage(usageText({ tenantId: undefined }), call).tenant).to.equal('acme');
    expect(readMessage(usageText({ tenantId: 'null' }), call).tenant).to.equal('acme');
    expect(readMessage(usageText(), call).tenant).to.equal('acme');
  });

  for (const [what, tenantId] of [
    ['another tenant', '"globex"'],
    ['no tenant at all', '"not a tenant"'],
    ['an empty text', '""'],
    ['the same in capitals', '"ACME"'],
  ]) {
    it(`answers 403 where the caller is acme and the event names ${what}`, () => {
      const found = refusal(usageText({ tenantId, eventId: undefined }), 'acme');
      expect([found.code, statusOf(found.code)]).to.deep.equal(['tenant_mismatch', 403]);
    });
  }

  it('does not trust a customer it knows by another tenant', () => {
    const reader = newReader();
    readMessage(usageText(), CALL, reader);
    const found = refusalOf(() => reader.read(JSON.parse(usageText()), { ...CALL, tenant: 'globex' }));
    expect(found.code).to.equal('tenant_mismatch');
  });

  it('finds a usable id for the list of rejected items', () => {
    const ids = ['null', '1', '{}', '{"eventId":7}', '{"eventId":""}', '{"eventId":"a\\u0000"}'];
    for (const text of ids) expect(usageIdOf(JSON.parse(text))).to.equal(undefined);
    expect(usageIdOf({ eventId: 'x'.repeat(129) })).to.equal(undefined);
    expect(usageIdOf({ eventId: 'x'.repeat(128) })).to.equal('x'.repeat(128));
  });
});
