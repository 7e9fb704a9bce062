import { expect } from 'chai';
import { RawConnection } from '../../support/raw-http.js';
import { ApiUnderTest, flag } from './api-under-test.js';

/** Clients and proxies take these out of a path: what is named so could be made and never asked for. */
describe('api: ids that no path can hold', () => {
  let api: ApiUnderTest;

  before(async () => {
    api = await (await ApiUnderTest.start()).connected();
  });
  after(() => api.close());

  const usage = {
    eventId: 'e',
    customerId: 'c',
    apiEndpoint: '/x',
    metadata: {},
    timestamp: new Date().toISOString(),
  };
  const admission = { pipeline: 'ranking', priority: 'P1', estimated_tokens: 1 };
  const card = { user_id: 'u', card_id: 'c', zip_code: '1' };

  for (const id of ['.', '..']) {
    const bodies: readonly (readonly [path: string, body: object, defect: string])[] = [
      ['/event', flag(id), 'event_properties.user_id'],
      ['/event', flag('u', { event_id: id }), 'event_id'],
      [
        '/event',
        { name: 'credit_card_added', event_properties: { ...card, card_id: id } },
        'event_properties.card_id',
      ],
      ['/usage', { ...usage, eventId: id }, 'eventId'],
      ['/usage', { ...usage, customerId: id }, 'customerId'],
      ['/admissions', { ...admission, request_id: id }, 'request_id'],
    ];
    for (const [path, body, defect] of bodies) {
      it(`refuses ${id} as ${defect} of ${path}`, async () => {
        const answer = await api.post(path, body, { 'x-tenant-id': 't' });
        expect([answer.status, answer.body['code']]).to.deep.equal([422, 'invalid_request']);
        expect(answer.body['errors']).to.deep.equal([{ path: defect, message: 'must not be . or ..' }]);
        expect(await api.appended()).to.equal(0);
      });
    }

    it(`refuses ${id} as an Idempotency-Key and in a query`, async () => {
      const keyed = await api.post('/event', flag('u'), { 'idempotency-key': id });
      expect([keyed.status, keyed.body['code']]).to.deep.equal([422, 'invalid_request']);
      expect((await api.get(`/canmessage?user_id=${id}`)).status).to.equal(422);
      expect(await api.appended()).to.equal(0);
    });

    it(`refuses ${id} in a path where it gets so far`, async () => {
      for (const path of [`/users/${id}/restrictions`, `/users/${id.replaceAll('.', '%2e')}/restrictions`]) {
        const connection = await RawConnection.open(api.url);
        connection.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
        await connection.closed;
        expect([connection.statuses, connection.body['code']]).to.deep.equal([[422], 'invalid_request']);
      }
    });
  }

  it('takes three dots, and dots among others', async () => {
    for (const id of ['...', '.a', 'a.', '..a'])
      expect((await api.post('/event', flag(id))).status).to.equal(202);
  });
});
