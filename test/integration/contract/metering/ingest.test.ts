import { expect } from 'chai';
import pg from 'pg';
import type { Answer } from '../../../support/http-client.js';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { type BatchAnswer, Caller, type Problem } from './caller.js';
import { QUICK } from './quick.js';
import { COMPLETION, iso, type PostedUsage, TENANT, usage, usages } from './usage.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe('contract: POST /usage and /usage/batch', () => {
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, settings: QUICK });
    caller = new Caller(weir.http);
  });
  after(() => weir.close());

  const post = (body: unknown, headers = {}): Promise<Answer<Problem>> =>
    weir.http.post('/usage', body, headers);
  const postBatch = (body: unknown, headers = {}): Promise<Answer<BatchAnswer & Problem>> =>
    weir.http.post('/usage/batch', body, headers);
  const lines = (items: readonly unknown[]): string => items.map((item) => JSON.stringify(item)).join('\n');
  const NDJSON = { 'content-type': 'application/x-ndjson' };

  async function expectRefused(
    answer: Promise<Answer<Problem>>,
    status: number,
    code: string,
    what = '',
  ): Promise<Answer<Problem>> {
    const given = await answer;
    expect([what, given.status, given.body.status, given.body.code]).to.deep.equal([
      what,
      status,
      status,
      code,
    ]);
    expect(given.headers.get('content-type')).to.equal('application/problem+json');
    return given;
  }

  it('takes the event as it was asked for and answers 202 with its id', async () => {
    const event = {
      eventId: 'b6f3a0f4-5f0c-4a5e-9f43-0d7b2f1f5a11',
      timestamp: iso(Date.now()),
      tenantId: TENANT,
      customerId: 'asked',
      apiEndpoint: COMPLETION,
      metadata: { tokens: 1500, model: 'gpt-4', latencyMs: 234, inputTokens: 500, outputTokens: 1000 },
    };
    const { status, body } = await post(event);
    expect([status, body]).to.deep.equal([202, { status: 'accepted', eventId: event.eventId }]);
    const { day } = await caller.counted('asked', 1);
    expect([day.tokens, day.inputTokens, day.outputTokens]).to.deep.equal([1500, 500, 1000]);
    expect(day.byModel).to.deep.equal({ 'gpt-4': { calls: 1, tokens: 1500 } });
    expect(day.byEndpoint).to.deep.equal({ [COMPLETION]: { calls: 1, tokens: 1500 } });
  });

  it('has the message in the stream before it answers', async () => {
    // Weir's own messages come only after windows have closed, which these are too young for.
    const appended = () => weir.usage.keysOf(TENANT, 'durable').appended;
    const before = Number((await weir.redis.get(appended())) ?? 0);
    await caller.post(usage('durable'));
    expect(Number(await weir.redis.get(appended()))).to.be.at.least(before + 1);
  });

  it('takes the tenant from the body or from X-Tenant-Id, which must agree', async () => {
    const { tenantId, ...anonymous } = usage('tenants');
    expect((await post({ ...anonymous, tenantId })).status).to.equal(202);
    const own = { 'x-tenant-id': TENANT };
    expect((await post({ ...anonymous, tenantId, eventId: 'both' }, own)).status).to.equal(202);
    expect((await post({ ...anonymous, eventId: 'header' }, own)).status).to.equal(202);
    await caller.counted('tenants', 3);
    await expectRefused(post({ ...anonymous, tenantId: 'other' }, own), 403, 'tenant_mismatch');
    await expectRefused(post(anonymous), 422, 'invalid_request', 'no tenant at all');
    for (const tenant of ['', 'a b', 'ä', 'a:b', 'x'.repeat(65), 7]) {
      await expectRefused(post({ ...anonymous, tenantId: tenant }), 422, 'invalid_request', String(tenant));
    }
    await expectRefused(post(anonymous, { 'x-tenant-id': 'a b' }), 422, 'invalid_request');
    const batch = [usage('tenants'), { ...usage('tenants', { eventId: 'strange' }), tenantId: 'other' }];
    const { status, body } = await postBatch(batch, own);
    expect([status, body.accepted]).to.deep.equal([202, 1]);
    expect(body.rejected.map(({ index, eventId, code }) => [index, eventId, code])).to.deep.equal([
      [1, 'strange', 'tenant_mismatch'],
    ]);
    await caller.counted('tenants', 4);
  });

  it('refuses what lies more than an hour in the future or beyond the retention', async () => {
    const at = (ms: number) => usage('times', { timestamp: iso(Date.now() + ms) });
    expect((await post(at(HOUR_MS - 60_000))).status).to.equal(202);
    expect((await post(at(-35 * DAY_MS + 60_000))).status).to.equal(202);
    await expectRefused(post(at(HOUR_MS + 60_000)), 422, 'timestamp_in_future');
    await expectRefused(post(at(-35 * DAY_MS - 60_000)), 422, 'timestamp_too_old');
    const mixed = [at(0), at(2 * HOUR_MS), at(-36 * DAY_MS)];
    const { body } = await postBatch(mixed);
    expect([body.accepted, ...body.rejected.map(({ code }) => code)]).to.deep.equal([
      1,
      'timestamp_in_future',
      'timestamp_too_old',
    ]);
  });

  it('answers 400, 404, 405, 413, 415 and 422 as problem documents', async () => {
    await expectRefused(post('{"eventId":'), 400, 'malformed_json');
    await expectRefused(postBatch('[{'), 400, 'malformed_json');
    await expectRefused(weir.http.post('/usage/nothing', {}), 404, 'not_found');
    for (const path of ['/usage', '/usage/batch']) {
      const wrong = await expectRefused(weir.http.send('DELETE', path), 405, 'method_not_allowed');
      expect(wrong.headers.get('allow')).to.include('POST');
      const text = { 'content-type': 'text/plain' };
      expect((await weir.http.post(path, '{}', text)).status).to.equal(415);
      const large = JSON.stringify({ ...usage('u'), metadata: { blob: 'x'.repeat(1024 * 1024) } });
      expect((await weir.http.post(path, large)).status).to.equal(413);
    }
  });

  it('names each field that is wrong, and nothing wrong is counted', async () => {
    const good = usage('wrong');
    const wrong: readonly (readonly [path: string, event: object])[] = [
      ['eventId', { ...good, eventId: '' }],
      ['eventId', { ...good, eventId: undefined }],
      ['eventId', { ...good, eventId: 'x'.repeat(129) }],
      ['eventId', { ...good, eventId: 'a\u0000b' }],
      ['timestamp', { ...good, timestamp: 'yesterday' }],
      ['timestamp', { ...good, timestamp: '2026-02-30T00:00:00Z' }],
      ['timestamp', { ...good, timestamp: Date.now() }],
      ['customerId', { ...good, customerId: '' }],
      ['customerId', { ...good, customerId: 'a\ud800b' }],
      ['apiEndpoint', { ...good, apiEndpoint: undefined }],
      ['metadata', { ...good, metadata: 'none' }],
      ['metadata.tokens', { ...good, metadata: { tokens: -1 } }],
      ['metadata.tokens', { ...good, metadata: { tokens: 1.5 } }],
      ['metadata.tokens', { ...good, metadata: { tokens: '1' } }],
      ['metadata.inputTokens', { ...good, metadata: { inputTokens: 1e12 } }],
      ['metadata.outputTokens', { ...good, metadata: { outputTokens: true } }],
      ['metadata.model', { ...good, metadata: { model: 4 } }],
      ['metadata.latencyMs', { ...good, metadata: { latencyMs: -1 } }],
    ];
    for (const [path, event] of wrong) {
      const { body } = await expectRefused(post(event), 422, 'invalid_request', path);
      expect(body.errors?.map((error) => error.path)).to.deep.equal([path]);
    }
    await caller.post(good);
    await caller.counted('wrong', 1);
  });

  it('keeps the fields of metadata that it does not know', async () => {
    const extra = { region: 'eu-west-1', nested: { list: [1, 'two', null] }, constructor: 'own' };
    await caller.post(usage('extra', { eventId: 'extra', metadata: { tokens: 1, ...extra } }));
    await caller.receiptWhen('extra');
    const client = new pg.Client({ connectionString: weir.environment['DATABASE_URL'] });
    await client.connect();
    try {
      const { rows } = await client.query(`SELECT metadata FROM usage_events WHERE event_id = 'extra'`);
      expect(rows).to.deep.equal([{ metadata: extra }]);
    } finally {
      await client.end();
    }
  });

  it('takes a batch as an array and as NDJSON, and lists what it rejects by index, id, code and detail', async () => {
    const items = [
      usage('batch'),
      usage('batch', { eventId: '' }),
      { ...usage('batch', { eventId: 'mine' }), metadata: { tokens: -1 } },
      null,
    ];
    for (const { status, body } of [await postBatch(items), await postBatch(lines(items), NDJSON)]) {
      expect([status, body.accepted]).to.deep.equal([202, 1]);
      expect(body.rejected.map(({ index, eventId, code }) => [index, eventId, code])).to.deep.equal([
        [1, undefined, 'invalid_request'],
        [2, 'mine', 'invalid_request'],
        [3, undefined, 'invalid_request'],
      ]);
      for (const { detail } of body.rejected) expect(detail).to.be.a('string').that.is.not.empty;
    }
    const { body } = await postBatch(`${lines([usage('batch')])}\r\n\r\n{"eventId":\n`, NDJSON);
    expect([body.accepted, body.rejected.map(({ index, code }) => [index, code])]).to.deep.equal([
      1,
      [[1, 'malformed_json']],
    ]);
    // The first item of the array and of the NDJSON was the same event.
    await caller.counted('batch', 2);
  });

  it('takes 1,000 events over many partitions and counts every one; refuses 1,001 and 0 as a whole', async () => {
    const thousand = Array.from({ length: 1000 }, (_, i) => usage(`many-${i % 10}`));
    await caller.postAll(thousand);
    for (let i = 0; i < 10; i += 1) await caller.counted(`many-${i}`, 100);
    const tooMany = [...usages(1000, 'many-0'), usage('many-0')];
    for (const body of [tooMany, [], {}, [{}, null]]) {
      await expectRefused(postBatch(body), 422, 'invalid_request');
    }
    await expectRefused(postBatch(lines(tooMany), NDJSON), 422, 'invalid_request');
    await caller.counted('many-0', 100);
  });

  it('takes CloudEvents: one, a batch, and with the attributes in headers', async () => {
    const wrap = (event: PostedUsage) => ({
      ...{ specversion: '1.0', type: 'usage', source: '/gateway', id: event.eventId },
      data: event,
    });
    const single = { 'content-type': 'application/cloudevents+json' };
    const batch = { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' };
    const one = usage('cloud', { eventId: 'cloud-1' });
    const made = await post(JSON.stringify(wrap(one)), single);
    expect([made.status, made.body]).to.deep.equal([202, { status: 'accepted', eventId: 'cloud-1' }]);
    const many = [
      wrap(usage('cloud')),
      wrap(usage('cloud')),
      { ...wrap(usage('cloud')), specversion: '0.3' },
    ];
    for (const path of ['/usage', '/usage/batch']) {
      const { status, body } = await weir.http.post<BatchAnswer>(path, JSON.stringify(many), batch);
      expect([status, body.accepted, body.rejected.map(({ index }) => index)]).to.deep.equal([202, 2, [2]]);
    }
    const headers = {
      'ce-specversion': '1.0',
      'ce-type': 'usage',
      'ce-source': '/gateway',
      'ce-id': 'cloud-1',
    };
    expect((await post(one, headers)).status).to.equal(202);
    // Two of the batch, which was sent twice, and the one that was sent in two ways.
    await caller.counted('cloud', 3);
    await weir.usage.drained();
    await caller.counted('cloud', 3);
    await expectRefused(
      post(JSON.stringify({ ...wrap(one), id: 'another' }), single),
      422,
      'invalid_request',
    );
  });

  it('counts an event once per customer, however often and in however many batches it is sent', async () => {
    const event = usage('dedupe', { eventId: 'same' });
    await caller.postAll([event, event]);
    await caller.postAll([event, usage('dedupe')]);
    await caller.post(event);
    await caller.post({ ...event, customerId: 'dedupe-2' });
    await weir.usage.drained();
    await caller.counted('dedupe', 2);
    await caller.counted('dedupe-2', 1);
    await until(10_000, 'the receipt counts the duplicates', async () => {
      const path = '/usage/events/same?customerId=dedupe';
      const { status, body } = await caller.get<{ status: string; duplicates: number }>(path);
      return status === 200 && body.status === 'accepted' && body.duplicates === 3;
    });
  });
});
