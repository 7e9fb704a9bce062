import { expect } from 'chai';
import { ApiUnderTest } from './api-under-test.js';
import { cloudEvent, idsOf, usage, usageMessages } from './usage-under-test.js';

describe('api: POST /usage/batch', () => {
  let api: ApiUnderTest;

  beforeEach(async () => {
    api = await (await ApiUnderTest.start()).connected();
  });
  afterEach(() => api.close());

  it('takes an array, keeps the order within each customer, and lists what it rejects', async () => {
    const good = Array.from({ length: 600 }, (_, i) => usage(`e${i}`, { customerId: `c${i % 7}` }));
    const items: unknown[] = [...good];
    items.splice(100, 0, usage('bad', { metadata: { tokens: -1 } }));
    items.splice(200, 0, 'text');
    items.splice(300, 0, usage('late', { timestamp: '2020-01-01T00:00:00Z' }));
    items.splice(400, 0, usage('early', { timestamp: '2999-01-01T00:00:00Z' }));
    items.splice(500, 0, usage('x'.repeat(129)));
    const answer = await api.post('/usage/batch', items, { 'x-request-id': 'req-1' });
    expect(answer.status).to.equal(202);
    expect(answer.body).to.deep.equal({
      accepted: 600,
      rejected: [
        {
          ...{ index: 100, eventId: 'bad', code: 'invalid_request' },
          detail: 'metadata.tokens must be a whole number from 0 to 1000000000.',
        },
        { index: 200, code: 'invalid_request', detail: 'The event must be an object.' },
        {
          ...{ index: 300, eventId: 'late', code: 'timestamp_too_old' },
          detail: 'timestamp is older than the 35 days that events are kept.',
        },
        {
          ...{ index: 400, eventId: 'early', code: 'timestamp_in_future' },
          detail: 'timestamp lies more than 60 minutes in the future.',
        },
        { index: 500, code: 'invalid_request', detail: 'eventId must have at most 128 characters.' },
      ],
    });
    const messages = await usageMessages(api);
    expect(messages).to.have.length(600);
    // The request's id would be a fifth of each message.
    expect(messages.every((message) => message.request === undefined)).to.equal(true);
    for (let customer = 0; customer < 7; customer++) {
      const ids = idsOf(messages.filter(({ subject }) => subject === `c${customer}`));
      const sent = Array.from({ length: 600 }, (_, i) => i).filter((i) => i % 7 === customer);
      expect(ids).to.deep.equal(sent.map((i) => `e${i}`));
    }
  });

  it('takes lines of JSON, skips blank lines and rejects a broken line alone', async () => {
    const lines = [JSON.stringify(usage('e0')), '', '{"eventId":', '  ', JSON.stringify(usage('e2')), ''];
    for (const type of ['application/x-ndjson', 'application/ndjson; charset=utf-8']) {
      const answer = await api.post('/usage/batch', lines.join('\r\n'), { 'content-type': type });
      expect(answer.status).to.equal(202);
      expect(answer.body).to.deep.equal({
        accepted: 2,
        rejected: [{ index: 1, code: 'malformed_json', detail: 'The line is not valid JSON.' }],
      });
    }
    expect(idsOf(await usageMessages(api))).to.deep.equal(['e0', 'e2', 'e0', 'e2']);
  });

  it('holds each item to the tenant of the caller', async () => {
    const items = [usage('e0'), usage('e1', { tenantId: 'globex' }), usage('e2', { tenantId: undefined })];
    const answer = await api.post('/usage/batch', items, { 'x-tenant-id': 'globex' });
    expect(answer.status).to.equal(202);
    expect(answer.body).to.deep.equal({
      accepted: 2,
      rejected: [
        {
          ...{ index: 0, eventId: 'e0', code: 'tenant_mismatch' },
          detail: 'tenantId is not the tenant of the caller.',
        },
      ],
    });
    const tenants = (await usageMessages(api)).map(({ id, tenant }) => `${id} ${tenant}`);
    expect(tenants).to.have.members(['e1 globex', 'e2 globex']);
  });

  it('takes items of several tenants where the caller names none', async () => {
    const items = ['acme', 'globex', undefined].map((tenantId, i) => usage(`e${i}`, { tenantId }));
    const answer = await api.post('/usage/batch', items);
    expect(answer.body['accepted']).to.equal(2);
    expect(answer.body['rejected']).to.deep.equal([
      {
        ...{ index: 2, eventId: 'e2', code: 'invalid_request' },
        detail: 'tenantId is required where there is no X-Tenant-Id.',
      },
    ]);
  });

  it('answers 422 with the list when none is valid', async () => {
    const answer = await api.post('/usage/batch', [usage(''), 1, usage('e', { x: 1 })]);
    expect(answer.status).to.equal(422);
    expect(answer.body['code']).to.equal('invalid_request');
    expect(
      (answer.body['rejected'] as object[]).map((item) => Object.values(item).slice(0, 2)),
    ).to.deep.equal([
      [0, 'invalid_request'],
      [1, 'invalid_request'],
      [2, 'e'],
    ]);
    expect(await api.messages()).to.deep.equal([]);
  });

  it('accepts exactly 1,000 of 500 bytes, and refuses 1,001 as a whole', async () => {
    const metadata = { tokens: 1, note: 'x'.repeat(300) };
    const items = Array.from({ length: 1001 }, (_, i) => usage(`e${i}`, { customerId: `c${i}`, metadata }));
    const refused = await api.post('/usage/batch', items);
    expect([refused.status, refused.body['code']]).to.deep.equal([422, 'invalid_request']);
    expect(await api.appended()).to.equal(0);
    const answer = await api.post('/usage/batch', items.slice(1));
    expect(answer.body).to.deep.equal({ accepted: 1000, rejected: [] });
    expect(await api.appended()).to.equal(1000);
  });

  const refused: readonly (readonly [what: string, body: string, type: string, status: number])[] = [
    ['an empty array', '[]', 'application/json', 422],
    ['no lines', '\n\n', 'application/x-ndjson', 422],
    ['one event', JSON.stringify(usage('e')), 'application/json', 422],
    ['a broken array', '[{}', 'application/json', 400],
    ['no media type', '[]', 'text/plain', 415],
    ['one CloudEvent', JSON.stringify(cloudEvent('e')), 'application/cloudevents+json', 415],
    ['an empty batch of CloudEvents', '[]', 'application/cloudevents-batch+json', 422],
  ];
  for (const [what, body, type, status] of refused) {
    it(`answers ${status} to ${what}`, async () => {
      expect((await api.post('/usage/batch', body, { 'content-type': type })).status).to.equal(status);
      expect(await api.messages()).to.deep.equal([]);
    });
  }

  it('fills the room that is left with a part of a batch, and lists the rest', async () => {
    await api.close();
    api = await (await ApiUnderTest.start({ BACKLOG_MAX: '3', PARTITIONS: '1' })).connected();
    const items = Array.from({ length: 5 }, (_, i) => usage(`e${i}`));
    const answer = await api.post('/usage/batch', items);
    expect([answer.status, answer.body['accepted']]).to.deep.equal([202, 3]);
    const rejected = answer.body['rejected'] as { index: number; eventId: string; code: string }[];
    expect(rejected.map(({ index, eventId, code }) => [index, eventId, code])).to.deep.equal([
      [3, 'e3', 'backlog_full'],
      [4, 'e4', 'backlog_full'],
    ]);
    const full = await api.post('/usage/batch', items);
    expect(full.status).to.equal(429);
    expect(full.headers.get('retry-after')).to.match(/^\d+$/);
    expect(full.body['rejected']).to.have.length(5);
    expect(idsOf(await usageMessages(api))).to.deep.equal(['e0', 'e1', 'e2']);
  });
});
