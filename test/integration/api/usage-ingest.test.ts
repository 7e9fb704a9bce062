import { expect } from 'chai';
import { partitionOf } from '../../../shared/topics.js';
import { ApiUnderTest } from './api-under-test.js';
import { idsOf, usage, usageMessages } from './usage-under-test.js';

describe('api: POST /usage', () => {
  let api: ApiUnderTest;

  beforeEach(async () => {
    api = await (await ApiUnderTest.start({ BODY_BYTES_MAX: '100000' })).connected();
  });
  afterEach(() => api.close());

  it("has the seed's example in the stream of its customer's partition before it answers", async () => {
    const now = Date.now();
    const event = {
      eventId: '0b3f6f0e-7d4e-4a52-8d3e-2f1c5a9b7e60',
      timestamp: new Date(now).toISOString(),
      ...{ tenantId: 'acme', customerId: 'Zoë', apiEndpoint: '/api/completion' },
      metadata: {
        ...{ tokens: 1500, model: 'gpt-4', latencyMs: 234, inputTokens: 500, outputTokens: 1000 },
        region: { name: 'eu', zones: [1, 2] },
      },
    };
    const answer = await api.post('/usage', event, { 'x-request-id': 'req-1' });
    expect(answer.status).to.equal(202);
    expect(answer.body).to.deep.equal({ status: 'accepted', eventId: event.eventId });
    const index = partitionOf('acme', 'Zoë', 4);
    const slot = api.slots.ofTopic('usage')[index]!;
    expect(slot.name).to.equal(`usage.${index}`);
    expect(await api.redis.xlen(slot.keys.stream)).to.equal(1);
    expect(await api.messages()).to.deep.equal([
      {
        ...{ type: 'usage', tenant: 'acme', subject: 'Zoë', id: event.eventId, timestamp: now },
        data: ['/api/completion', 1500, 500, 1000, 'gpt-4', 234_000, { region: event.metadata.region }],
        request: 'req-1',
      },
    ]);
  });

  it('appends 500 concurrent events exactly once each', async () => {
    const ids = Array.from({ length: 500 }, (_, i) => `e${i}`);
    const answers = await Promise.all(
      ids.map((id, i) => api.post('/usage', usage(id, { customerId: `c${i % 50}` }))),
    );
    expect(answers.every(({ status }) => status === 202)).to.equal(true);
    expect(idsOf(await usageMessages(api)).sort()).to.deep.equal([...ids].sort());
    expect(await api.appended()).to.equal(500);
  });

  it('keeps a customer of the same name of two tenants apart', async () => {
    for (const tenantId of ['acme', 'globex']) await api.post('/usage', usage('e', { tenantId }));
    const messages = await usageMessages(api);
    expect(messages.map(({ tenant, subject }) => `${tenant} ${subject}`)).to.have.members([
      ...['acme c1', 'globex c1'],
    ]);
  });

  const ahead = (ms: number): string => new Date(Date.now() + ms).toISOString();
  const refused: readonly (readonly [
    what: string,
    event: () => unknown,
    headers: Readonly<Record<string, string>>,
    status: number,
    code: string,
  ])[] = [
    ['no tenant at all', () => usage('e', { tenantId: undefined }), {}, 422, 'invalid_request'],
    ['the tenant of another', () => usage('e'), { 'x-tenant-id': 'globex' }, 403, 'tenant_mismatch'],
    ['a tenant header that is none', () => usage('e'), { 'x-tenant-id': 'a b' }, 422, 'invalid_request'],
    ['an empty tenant header', () => usage('e'), { 'x-tenant-id': '' }, 422, 'invalid_request'],
    ['two tenant headers', () => usage('e'), { 'x-tenant-id': 'acme, acme' }, 422, 'invalid_request'],
    ['no event id', () => usage('e', { eventId: undefined }), {}, 422, 'invalid_request'],
    ['an array', () => [usage('e')], {}, 422, 'invalid_request'],
    ['a misspelt field', () => usage('e', { metaData: {} }), {}, 422, 'invalid_request'],
    ['the far future', () => usage('e', { timestamp: ahead(3_660_000) }), {}, 422, 'timestamp_in_future'],
    ['the far past', () => usage('e', { timestamp: ahead(-36 * 86_400_000) }), {}, 422, 'timestamp_too_old'],
    ['no JSON', () => '{"eventId":', {}, 400, 'malformed_json'],
    ['too much', () => usage('e', { x: 'x'.repeat(100_000) }), {}, 413, 'body_too_large'],
    ['lines', () => usage('e'), { 'content-type': 'application/x-ndjson' }, 415, 'unsupported_media_type'],
    ['a text', () => 'eventId=e', { 'content-type': 'text/plain' }, 415, 'unsupported_media_type'],
    ['5,000 levels', () => `${'['.repeat(5000)}${']'.repeat(5000)}`, {}, 422, 'invalid_request'],
  ];
  for (const [what, event, headers, status, code] of refused) {
    it(`answers ${status} ${code} to ${what}, and appends nothing`, async () => {
      const answer = await api.post('/usage', event(), headers);
      expect({ status: answer.status, code: answer.body['code'] }).to.deep.equal({ status, code });
      expect(answer.headers.get('content-type')).to.equal('application/problem+json');
      expect(await api.messages()).to.deep.equal([]);
    });
  }

  it('names where a tenant header is wrong', async () => {
    const answer = await api.post('/usage', usage('e'), { 'x-tenant-id': 'a/b' });
    expect(answer.body['errors']).to.deep.equal([
      { path: 'X-Tenant-Id', message: 'must be 1 to 64 of A-Z, a-z, 0-9, _ and -' },
    ]);
  });

  it("takes the caller's tenant where the event names none", async () => {
    const headers = { 'x-tenant-id': 'globex' };
    const answers = [
      await api.post('/usage', usage('e1', { tenantId: undefined }), headers),
      await api.post('/usage', usage('e2', { tenantId: 'globex' }), headers),
    ];
    expect(answers.map(({ status }) => status)).to.deep.equal([202, 202]);
    expect((await usageMessages(api)).map(({ id, tenant }) => [id, tenant])).to.deep.equal([
      ['e1', 'globex'],
      ['e2', 'globex'],
    ]);
  });

  it('keeps events as long as EVENTS_RETENTION_DAYS says', async () => {
    await api.close();
    api = await (await ApiUnderTest.start({ EVENTS_RETENTION_DAYS: '1' })).connected();
    const at = (hours: number) => usage('e', { timestamp: ahead(hours * 3_600_000) });
    expect((await api.post('/usage', at(-23))).status).to.equal(202);
    expect((await api.post('/usage', at(-25))).body['code']).to.equal('timestamp_too_old');
  });

  for (const [method, path] of [
    ['GET', '/usage'],
    ['PUT', '/usage'],
    ['GET', '/usage/batch'],
    ['DELETE', '/usage/batch'],
  ] as const) {
    it(`answers 405 to ${method} ${path}, with Allow`, async () => {
      const answer = await api.request(method, path);
      expect(answer.status).to.equal(405);
      expect(answer.headers.get('allow')).to.equal('POST, OPTIONS');
    });
  }

  it('counts its requests by route, from 0 on', async () => {
    const series = (route: string): string =>
      `request_count_total{method="POST",route="${route}",status="202"}`;
    const before = (await api.get('/metrics')).body['text'];
    for (const route of ['/usage', '/usage/batch']) expect(before).to.include(`${series(route)} 0\n`);
    await api.post('/usage', usage('e1'));
    await api.post('/usage/batch', [usage('e2')]);
    const after = (await api.get('/metrics')).body['text'];
    for (const route of ['/usage', '/usage/batch']) expect(after).to.include(`${series(route)} 1\n`);
  });

  it('answers 429 with Retry-After when the backlog of the partition is full', async () => {
    await api.close();
    api = await (await ApiUnderTest.start({ BACKLOG_MAX: '2' })).connected();
    const answers = [];
    for (const id of ['e1', 'e2', 'e3']) answers.push(await api.post('/usage', usage(id)));
    expect(answers.map(({ status }) => status)).to.deep.equal([202, 202, 429]);
    expect(answers[2]!.body['code']).to.equal('backlog_full');
    expect(Number(answers[2]!.headers.get('retry-after'))).to.be.within(1, 60);
    expect(idsOf(await usageMessages(api))).to.deep.equal(['e1', 'e2']);
  });

  it('answers 429 when too much waits for the archive', async () => {
    await api.close();
    api = await (await ApiUnderTest.start({ ARCHIVE_BACKLOG_BYTES_MAX: '300' })).connected();
    const first = await api.post('/usage', usage('e1'));
    const second = await api.post('/usage', usage('e2', { apiEndpoint: '/x'.repeat(100) }));
    expect([first.status, second.status]).to.deep.equal([202, 429]);
    expect(second.body['code']).to.equal('backlog_full');
    expect(second.headers.get('retry-after')).to.match(/^\d+$/);
    // Other topics have no archive.
    const flag = { name: 'scam_message_flagged', event_properties: { user_id: 'u'.repeat(100) } };
    for (let i = 0; i < 5; i++) expect((await api.post('/event', flag)).status).to.equal(202);
  });
});
