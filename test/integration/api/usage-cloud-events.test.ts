import { expect } from 'chai';
import { ApiUnderTest } from './api-under-test.js';
import { cloudEvent, idsOf, usage, usageMessages } from './usage-under-test.js';

describe('api: CloudEvents on /usage', () => {
  const ONE = { 'content-type': 'application/cloudevents+json' };
  const MANY = { 'content-type': 'application/cloudevents-batch+json; charset=UTF-8' };
  let api: ApiUnderTest;

  beforeEach(async () => {
    api = await (await ApiUnderTest.start()).connected();
  });
  afterEach(() => api.close());

  it('makes the same message of a CloudEvent as of the bare event, but for its source', async () => {
    const timestamp = new Date().toISOString();
    const requestId = { 'x-request-id': 'r' };
    const bare = await api.post('/usage', usage('e', { timestamp }), requestId);
    const wrapped = await api.post('/usage', cloudEvent('e', { timestamp }), { ...ONE, ...requestId });
    expect([wrapped.status, wrapped.body]).to.deep.equal([202, { status: 'accepted', eventId: 'e' }]);
    expect([bare.status, bare.body]).to.deep.equal([wrapped.status, wrapped.body]);
    const [first, second, ...others] = await usageMessages(api);
    expect({ source: '/gateway', ...first }).to.deep.equal(second);
    expect(others).to.deep.equal([]);
  });

  it('takes binary mode too: attributes in headers, the event in the body', async () => {
    const { eventId: _, customerId: __, ...data } = usage('unused');
    const answer = await api.post('/usage', data, {
      ...{ 'ce-specversion': '1.0', 'ce-type': 't', 'ce-source': '/s', 'ce-id': 'e%201' },
      'ce-subject': 'Zo%C3%AB',
    });
    expect([answer.status, answer.body]).to.deep.equal([202, { status: 'accepted', eventId: 'e 1' }]);
    expect((await usageMessages(api)).map(({ source, id, subject }) => [source, id, subject])).to.deep.equal([
      ['/s', 'e 1', 'Zoë'],
    ]);
    const twice = await api.request('POST', '/usage', JSON.stringify(data), {
      'content-type': 'application/json',
      'ce-specversion': '1.0',
      'ce-type': 't',
      'ce-source': '/s',
    });
    expect([twice.status, twice.body['code']]).to.deep.equal([422, 'invalid_request']);
  });

  for (const path of ['/usage', '/usage/batch']) {
    it(`takes a batch on ${path} and answers as for an array`, async () => {
      const other = { ...cloudEvent('e2'), data: { ...usage('not e2') } };
      const items = [cloudEvent('e0'), usage('bare'), other, 7, cloudEvent('e4')];
      const answer = await api.post(path, items, MANY);
      expect(answer.status).to.equal(202);
      expect(answer.body).to.deep.equal({
        accepted: 2,
        rejected: [
          {
            ...{ index: 1, code: 'invalid_request' },
            detail: 'specversion must be "1.0".',
          },
          {
            ...{ index: 2, eventId: 'not e2', code: 'invalid_request' },
            detail: 'data.eventId must be equal to id, or absent.',
          },
          { index: 3, code: 'invalid_request', detail: 'The event must be a CloudEvent.' },
        ],
      });
      expect(idsOf(await usageMessages(api))).to.deep.equal(['e0', 'e4']);
    });
  }

  it('holds them to the tenant of the caller', async () => {
    const headers = { ...ONE, 'x-tenant-id': 'globex' };
    const answer = await api.post('/usage', cloudEvent('e'), headers);
    expect([answer.status, answer.body['code']]).to.deep.equal([403, 'tenant_mismatch']);
    expect(await api.messages()).to.deep.equal([]);
  });

  it('names what is wrong with the envelope and with the data', async () => {
    const envelope = await api.post('/usage', { ...cloudEvent('e'), specversion: '2.0', source: '' }, ONE);
    expect(envelope.status).to.equal(422);
    expect((envelope.body['errors'] as { path: string }[]).map(({ path }) => path)).to.deep.equal([
      ...['specversion', 'source'],
    ]);
    const data = await api.post('/usage', cloudEvent('e', { metadata: { tokens: 'many' } }), ONE);
    expect(data.body['detail']).to.equal('data.metadata.tokens must be a whole number from 0 to 1000000000.');
  });

  it('does not take them where events of restrictions are posted', async () => {
    expect((await api.post('/event', cloudEvent('e'), ONE)).status).to.equal(415);
    expect((await api.post('/events', [cloudEvent('e')], MANY)).status).to.equal(415);
  });
});
