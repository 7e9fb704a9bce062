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
    await stores.archivedEvent('e1', { acceptedAt, index: 2, status: 'late', windowRevision: 3 });
    for (const index of [3, 4]) {
      await stores.archivedEvent('e1', { acceptedAt, index, status: 'duplicate', windowRevision: 0 });
    }
    const { status, body } = await stores.get('/usage/events/e1');
    expect(status).to.equal(200);
    expect(body).to.deep.equal({
      ...{
        eventId: 'e1',
        customerId: 'c1',
        status: 'late',
        windowRevision: 3,
        duplicates: 2,
        archived: true,
      },
      windowStart: new Date(TEN).toISOString(),
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

  it('tells customers apart that use the same id', async () => {
    const now = Date.now();
    await stores.archivedEvent('e1', { acceptedAt: now - 1000, customer: 'a' });
    await stores.archivedEvent('e1', { acceptedAt: now, customer: 'b', status: 'late' });
    await stores.archivedEvent('e1', { acceptedAt: now, index: 1, customer: 'b', status: 'duplicate' });
    const of = async (query: string): Promise<unknown[]> => {
      const { body } = await stores.get(`/usage/events/e1${query}`);
      return [body['customerId'], body['status'], body['duplicates']];
    };
    expect(await of('')).to.deep.equal(['a', 'accepted', 0]);
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
    for (const path of ['e1?x=1', 'e1?customerId=', 'e%00', 'x'.repeat(129)]) {
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
