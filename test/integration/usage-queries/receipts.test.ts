import { expect } from 'chai';
import { freePort } from '../../support/redis-server.js';
import { ApiUnderTest } from '../api/api-under-test.js';
import { TEN, UsageStores } from './usage-stores.js';

describe('usage queries: GET /usage/events/{eventId}', () => {
  let stores: UsageStores;

  beforeEach(async () => {
    stores = await UsageStores.start();
  });
  afterEach(() => stores.close());

  it('says what became of an event', async () => {
    const acceptedAt = Date.now();
    await stores.archivedEvent('e1', { acceptedAt, index: 2, status: 'late', windowRevision: 3, tokens: 70 });
    for (const index of [3, 4]) {
      const duplicate = { status: 'duplicate', windowRevision: 0, tokens: 80 } as const;
      await stores.archivedEvent('e1', { acceptedAt, index, ...duplicate });
    }
    const { status, body } = await stores.get('/usage/events/e1');
    expect(status).to.equal(200);
    expect(body).to.deep.equal({
      ...{
        eventId: 'e1',
        customerId: 'c1',
        source: null,
        status: 'late',
        windowRevision: 3,
        tokens: 70,
        duplicates: 2,
        counted: 1,
        archived: true,
      },
      windowStart: new Date(TEN).toISOString(),
      counts: [{ windowStart: new Date(TEN).toISOString(), windowRevision: 3 }],
      acceptedAt: new Date(acceptedAt).toISOString(),
      position: `usage.3/${acceptedAt}-7:2`,
    });
  });

  it('prefers what counted to what is dead, then the earliest', async () => {
    const now = Date.now();
    await stores.archivedEvent('e1', { acceptedAt: now - 2000, status: 'dead', windowRevision: 0 });
    expect((await stores.get('/usage/events/e1')).body).to.include({ status: 'dead', windowRevision: 0 });
    await stores.archivedEvent('e1', { acceptedAt: now, status: 'accepted' });
    await stores.archivedEvent('e1', { acceptedAt: now - 1000, status: 'late', windowRevision: 2 });
    expect((await stores.get('/usage/events/e1')).body).to.include({ status: 'late', windowRevision: 2 });
  });

  it('says how often an event counted, and where, when its id came back after it was forgotten', async () => {
    const now = Date.now();
    const second = { windowStart: TEN + 30_000, windowRevision: 2, status: 'late', tokens: 9 } as const;
    await stores.archivedEvent('e1', { acceptedAt: now, ...second });
    await stores.archivedEvent('e1', { acceptedAt: now - 9000, tokens: 7 });
    await stores.archivedEvent('e1', { acceptedAt: now, index: 1, status: 'duplicate', windowRevision: 0 });
    await stores.archivedEvent('e1', { acceptedAt: now - 10_000, status: 'dead', windowRevision: 0 });
    const { body } = await stores.get('/usage/events/e1');
    expect(body).to.include({ status: 'accepted', windowRevision: 1, tokens: 7, duplicates: 1, counted: 2 });
    expect(body['counts']).to.deep.equal([
      { windowStart: new Date(TEN).toISOString(), windowRevision: 1 },
      { windowStart: new Date(TEN + 30_000).toISOString(), windowRevision: 2 },
    ]);
  });

  it('lists the first 100 counts', async () => {
    const now = Date.now();
    for (let i = 0; i < 103; i++) {
      await stores.archivedEvent('e1', { acceptedAt: now + i, windowStart: TEN + i * 30_000 });
    }
    const { body } = await stores.get('/usage/events/e1');
    const counts = body['counts'] as { windowStart: string }[];
    expect([body['counted'], counts.length, counts[99]!.windowStart]).to.deep.equal([
      103,
      100,
      new Date(TEN + 99 * 30_000).toISOString(),
    ]);
  });

  it('says of what is dead that it counted nowhere', async () => {
    await stores.archivedEvent('e1', { status: 'dead', windowRevision: 0, tokens: 5 });
    const { body } = await stores.get('/usage/events/e1');
    expect(body).to.deep.include({ status: 'dead', tokens: 0, counted: 0, counts: [] });
  });

  it('tells sources apart that use the same id, and events that have none', async () => {
    const now = Date.now();
    await stores.archivedEvent('e1', { acceptedAt: now - 2, source: '/a', tokens: 1 });
    await stores.archivedEvent('e1', { acceptedAt: now - 1, source: '/b?x=1&y', tokens: 2 });
    await stores.archivedEvent('e1', { acceptedAt: now, source: '/b?x=1&y', status: 'duplicate', index: 1 });
    await stores.archivedEvent('e1', { acceptedAt: now, tokens: 3 });
    const of = async (query: string): Promise<unknown[]> => {
      const { body } = await stores.get(`/usage/events/e1${query}`);
      return [body['source'], body['tokens'], body['duplicates'], body['counted']];
    };
    expect(await of('?source=%2Fa')).to.deep.equal(['/a', 1, 0, 1]);
    expect(await of(`?source=${encodeURIComponent('/b?x=1&y')}`)).to.deep.equal(['/b?x=1&y', 2, 1, 1]);
    expect(await of('?source=')).to.deep.equal([null, 3, 0, 1]);
    const { status, body } = await stores.get('/usage/events/e1?customerId=c1');
    expect([status, body['code'], body['customers'], body['sources']]).to.deep.equal([
      409,
      'ambiguous_event',
      ['c1'],
      ['/a', '/b?x=1&y', null],
    ]);
    expect(body['detail']).to.equal('Several events have this id: source says which one is meant.');
    const other = await stores.get('/usage/events/e1?source=%2Fc');
    expect([other.status, other.body['code']]).to.deep.equal([404, 'receipt_not_found']);
  });

  it('names no more than 20 customers', async () => {
    for (let i = 10; i < 32; i++) await stores.archivedEvent('e1', { customer: `c${i}`, index: i });
    const { body } = await stores.get('/usage/events/e1');
    expect(body['customers']).to.deep.equal(Array.from({ length: 20 }, (_, i) => `c${10 + i}`));
    expect(body['sources']).to.deep.equal([null]);
  });

  it('tells customers apart that use the same id', async () => {
    const now = Date.now();
    await stores.archivedEvent('e1', { acceptedAt: now - 1000, customer: 'a' });
    await stores.archivedEvent('e1', { acceptedAt: now, customer: 'b', status: 'late' });
    await stores.archivedEvent('e1', { acceptedAt: now, index: 1, customer: 'b', status: 'duplicate' });
    const of = async (query: string): Promise<unknown[]> => {
      const { body } = await stores.get(`/usage/events/e1${query}`);
      return [body['customerId'], body['status'], body['duplicates']];
    };
    const { status, body } = await stores.get('/usage/events/e1');
    expect([status, body['code'], body['customers']]).to.deep.equal([409, 'ambiguous_event', ['a', 'b']]);
    expect(body['detail']).to.equal('Several events have this id: customerId says which one is meant.');
    expect(await of('?customerId=a')).to.deep.equal(['a', 'accepted', 0]);
    expect(await of('?customerId=b')).to.deep.equal(['b', 'late', 1]);
    expect((await stores.get('/usage/events/e1?customerId=c')).body['code']).to.equal('receipt_not_found');
  });

  it('answers 404 where nothing (but duplicates) is archived', async () => {
    await stores.archivedEvent('e2', { status: 'duplicate' });
    for (const id of ['e1', 'e2', encodeURIComponent('ä/../?')]) {
      const { status, body } = await stores.get(`/usage/events/${id}`);
      expect([id, status, body['code']]).to.deep.equal([id, 404, 'receipt_not_found']);
    }
  });

  it('decodes ids in the path', async () => {
    await stores.archivedEvent("it's/one?&ä");
    expect((await stores.get(`/usage/events/${encodeURIComponent("it's/one?&ä")}`)).status).to.equal(200);
  });

  it('answers 422 to what is wrong', async () => {
    for (const path of [
      'e1?x=1',
      'e1?customerId=',
      'e1?source=%00',
      `e1?source=${'x'.repeat(513)}`,
      'e%00',
      'x'.repeat(129),
    ]) {
      const { status, body } = await stores.get(`/usage/events/${path}`);
      expect([path, status, body['code']]).to.deep.equal([path, 422, 'invalid_request']);
    }
  });
});

describe('usage queries: without a Postgres', () => {
  const asTenant = { 'x-tenant-id': 't1' };

  it('has no receipts without a DATABASE_URL, but windows', async () => {
    const api = await (await ApiUnderTest.start()).connected();
    try {
      const receipt = await api.request('GET', '/usage/events/e1', undefined, asTenant);
      expect([receipt.status, receipt.body['code']]).to.deep.equal([503, 'store_unavailable']);
      expect(receipt.body['detail']).to.contain('DATABASE_URL');
      const path = '/usage/windows?customerId=c&from=2023-11-20T10:00:00Z&to=2023-11-20T11:00:00Z';
      const windows = await api.request('GET', path, undefined, asTenant);
      expect([windows.status, windows.body['windows']]).to.deep.equal([200, []]);
    } finally {
      await api.close();
    }
  });

  it('answers 503 while nothing listens there, and does not wait for it', async () => {
    const DATABASE_URL = `postgres://weir:secret@127.0.0.1:${await freePort()}/weir`;
    const api = await (await ApiUnderTest.start({ DATABASE_URL })).connected();
    try {
      const { status, body } = await api.request('GET', '/usage/events/e1', undefined, asTenant);
      expect([status, body['detail']]).to.deep.equal([503, 'Postgres does not answer.']);
    } finally {
      await api.close();
    }
  });
});
