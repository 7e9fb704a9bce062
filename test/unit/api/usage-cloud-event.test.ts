import { expect } from 'chai';
import {
  binaryCloudEvent,
  cloudEventIdOf,
  isBinaryCloudEvent,
  readCloudEvent,
} from '../../../api/usage/cloud-event.js';
import type { Message } from '../../../shared/messages/message.js';
import { CALL, NOW, newReader, pathsOf, refusalOf } from './usage-events.js';

describe('CloudEvents', () => {
  const DATA = { tenantId: 'acme', apiEndpoint: '/x', metadata: { tokens: 5 } };
  const ENVELOPE = {
    ...{ specversion: '1.0', type: 'com.example.usage', source: '/gateway', id: 'ce-1' },
    ...{ time: '2026-11-20T12:00:00Z', subject: 'c1', data: DATA },
  };
  const read = (event: unknown, tenant?: string): Message =>
    JSON.parse(
      readCloudEvent(newReader(), JSON.parse(JSON.stringify(event)), { ...CALL, tenant }).text,
    ) as Message;
  const refused = (event: unknown): string[] => {
    const found = refusalOf(() => read(event));
    expect(found.code).to.equal('invalid_request');
    return pathsOf(found);
  };

  it('take id, time and customer from the envelope where data has none', () => {
    const expected = {
      ...{ type: 'usage', tenant: 'acme', subject: 'c1', id: 'ce-1', timestamp: NOW },
      data: ['/x', 5, 0, 0, null, null],
    };
    expect(read(ENVELOPE)).to.deep.equal(expected);
    const nulls = { ...DATA, eventId: null, timestamp: null, customerId: null };
    expect(read({ ...ENVELOPE, data: nulls })).to.deep.equal(expected);
  });

  it('let data have the last word on time and customer', () => {
    const data = { ...DATA, eventId: 'ce-1', timestamp: '2026-11-20T11:00:00Z', customerId: 'c2' };
    const message = read({ ...ENVELOPE, data });
    expect([message.id, message.subject, message.timestamp]).to.deep.equal(['ce-1', 'c2', NOW - 3_600_000]);
  });

  it('may carry attributes and extensions that weir does not know', () => {
    const more = {
      datacontenttype: 'application/json',
      dataschema: 'x',
      traceparent: '00-1',
      partitionkey: 1,
    };
    expect(read({ ...ENVELOPE, ...more }).id).to.equal('ce-1');
  });

  it("keep to the caller's tenant", () => {
    expect(read(ENVELOPE, 'acme').tenant).to.equal('acme');
    expect(read({ ...ENVELOPE, data: { apiEndpoint: '/x' } }, 'acme').tenant).to.equal('acme');
    expect(refusalOf(() => read(ENVELOPE, 'globex')).code).to.equal('tenant_mismatch');
  });

  const without = (name: string): object =>
    Object.fromEntries(Object.entries(ENVELOPE).filter(([key]) => key !== name));
  const withData = (more: object): object => ({ ...ENVELOPE, data: { ...DATA, ...more } });
  const cases: readonly (readonly [what: string, event: unknown, paths: readonly string[]])[] = [
    ['null', null, ['']],
    ['an array', [], ['']],
    ['a bare usage event', { ...DATA, eventId: 'e' }, ['specversion', 'id', 'source', 'type', 'data']],
    ['another version', { ...ENVELOPE, specversion: '0.3' }, ['specversion']],
    ['a version that is a number', { ...ENVELOPE, specversion: 1 }, ['specversion']],
    ['no id, even with an eventId', { ...withData({ eventId: 'e' }), id: undefined }, ['id', 'data.eventId']],
    ['no source', without('source'), ['source']],
    ['an empty type', { ...ENVELOPE, type: '' }, ['type']],
    ['no data', without('data'), ['data']],
    ['data in base64', { ...without('data'), data_base64: 'e30=' }, ['data']],
    ['data as text', { ...ENVELOPE, data: '{}' }, ['data']],
    ['another eventId', withData({ eventId: 'ce-2' }), ['data.eventId']],
    ['an id that is too long', { ...ENVELOPE, id: 'x'.repeat(129) }, ['id']],
    ['an id that is no text', { ...ENVELOPE, id: 7 }, ['id']],
    ['a time without zone', { ...ENVELOPE, time: '2026-11-20T12:00:00' }, ['time']],
    ['neither time nor timestamp', without('time'), ['data.timestamp']],
    ['a subject with U+0000', { ...ENVELOPE, subject: '\0' }, ['subject']],
    ['a bad customer in data', withData({ customerId: '' }), ['data.customerId']],
    ['bad metadata', withData({ metadata: { tokens: -1 } }), ['data.metadata.tokens']],
    ['an unknown field of data', withData({ x: 1 }), ['data.x']],
    ['no tenant', withData({ tenantId: null }), ['data.tenantId']],
  ];
  for (const [what, event, paths] of cases) {
    it(`are refused with ${what}`, () => {
      expect(refused(event)).to.deep.equal(paths);
    });
  }

  it('say where a time out of range was', () => {
    const future = refusalOf(() => read({ ...ENVELOPE, time: '2026-11-20T13:00:01Z' }));
    expect([future.code, ...pathsOf(future)]).to.deep.equal(['timestamp_in_future', 'time']);
    const old = refusalOf(() => read(withData({ timestamp: '2026-01-01T00:00:00Z' })));
    expect([old.code, ...pathsOf(old)]).to.deep.equal(['timestamp_too_old', 'data.timestamp']);
  });

  it('have the id they would count under in the list of rejected items', () => {
    expect(cloudEventIdOf(ENVELOPE)).to.equal('ce-1');
    expect(cloudEventIdOf(withData({ eventId: 'other' }))).to.equal('other');
    for (const value of [null, 1, {}, { id: '' }, { id: 7, data: 7 }]) {
      expect(cloudEventIdOf(value)).to.equal(undefined);
    }
  });

  it('may come in binary mode, percent-encoded', () => {
    const headers = {
      ...{ 'ce-specversion': '1.0', 'ce-type': 't', 'ce-source': '/s', 'ce-id': 'Zo%C3%AB%20%25' },
      ...{ 'ce-time': '2026-11-20T12:00:00Z', 'ce-subject': 'c1', 'ce-traceparent': '%' },
    };
    expect(isBinaryCloudEvent(headers)).to.equal(true);
    expect(isBinaryCloudEvent({ 'ce-id': 'x' })).to.equal(false);
    expect(read(binaryCloudEvent(headers, DATA)).id).to.equal('Zoë %');
    const broken = refusalOf(() => binaryCloudEvent({ ...headers, 'ce-id': '%ff' }, DATA));
    expect(pathsOf(broken)).to.deep.equal(['ce-id']);
  });
});
