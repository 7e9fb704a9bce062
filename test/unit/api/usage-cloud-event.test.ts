import { expect } from 'chai';
import {
  binaryCloudEvent,
  cloudEventIdOf,
  isBinaryCloudEvent,
  readCloudEvent,
} from '../../../api/usage/cloud-event.js';
import { type Message, SOURCE_FIRST } from '../../../shared/messages/message.js';
import { CALL, NOW, newReader, pathsOf, refusalOf, usageText } from './usage-events.js';

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
      ...{ source: '/gateway', type: 'usage', tenant: 'acme', subject: 'c1', id: 'ce-1', timestamp: NOW },
      data: ['/x', 5, 0, 0, null, null],
    };
    expect(read(ENVELOPE)).to.deep.equal(expected);
    const nulls = { ...DATA, eventId: null, timestamp: null, customerId: null };
    expect(read({ ...ENVELOPE, data: nulls })).to.deep.equal(expected);
  });

  it('begin with their source, so that their text tells what version of the record batch they need', () => {
    for (const source of ['/gateway', 'urn:"x"', '漢字']) {
      const { text } = readCloudEvent(newReader(), { ...ENVELOPE, source }, CALL);
      expect(text.startsWith(SOURCE_FIRST)).to.equal(true);
      expect((JSON.parse(text) as Message).source).to.equal(source);
    }
    expect(newReader().read(JSON.parse(usageText()), CALL).text.startsWith(SOURCE_FIRST)).to.equal(false);
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
    ['a source that is too long', { ...ENVELOPE, source: 'x'.repeat(513) }, ['source']],
    ['a source with U+0000', { ...ENVELOPE, source: '\0' }, ['source']],
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

  const binary = (more: Readonly<Record<string, readonly string[]>>) =>
    binaryCloudEvent(
      {
        'ce-specversion': ['1.0'],
        'ce-type': ['t'],
        'ce-source': ['/s'],
        'ce-id': ['i'],
        'ce-time': ['2026-11-20T12:00:00Z'],
        'ce-subject': ['c1'],
        'ce-traceparent': ['%'],
        ...more,
      },
      DATA,
    );

  it('may come in binary mode, percent-encoded or in double quotes', () => {
    const id = (value: string) => read(binary({ 'ce-id': [value] })).id;
    expect(id('Zo%C3%AB%20%25')).to.equal('Zoë %');
    expect(id('Euro%20%E2%82%AC%20%F0%9F%98%80')).to.equal('Euro € 😀');
    expect(id('%41%c3%ab')).to.equal('Aë');
    expect(id('%2541')).to.equal('%41');
    expect(id('"a b"')).to.equal('a b');
    expect(id('"say \\"hi\\" \\\\ %25"')).to.equal('say "hi" \\ %');
    expect(read(binary({ 'ce-source': ['/g%20w'] })).source).to.equal('/g w');
  });

  it('are refused in binary mode where a header cannot be decoded, or is there twice', () => {
    for (const values of [['%ff'], ['%C0%A0'], ['%'], ['%4'], ['"a'], ['ë'], ['a', 'a']]) {
      const broken = refusalOf(() => binary({ 'ce-id': values }));
      expect([values, pathsOf(broken)]).to.deep.equal([values, ['ce-id']]);
    }
  });

  it('are in binary mode as soon as one header says so, and are refused where the others are missing', () => {
    for (const header of ['ce-specversion', 'ce-id', 'ce-source', 'ce-type']) {
      expect(isBinaryCloudEvent({ [header]: 'x' })).to.equal(true);
    }
    expect(isBinaryCloudEvent({ 'ce-time': 'x', 'ce-traceparent': 'x' })).to.equal(false);
    expect(refused(binaryCloudEvent({ 'ce-source': ['/s'] }, DATA))).to.deep.equal([
      'specversion',
      'id',
      'type',
    ]);
  });
});
