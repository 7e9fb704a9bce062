import { expect } from 'chai';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { Caller, type Problem } from './caller.js';
import { QUICK } from './quick.js';
import { iso, TENANT, usage } from './usage.js';

const GATEWAYS = ['/gateway/1', '/gateway/2', 'urn:gateway:3'];

describe('contract: CloudEvents are identified by source and id', () => {
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, settings: QUICK });
    caller = new Caller(weir.http);
  });
  after(() => weir.close());

  const cloudEvent = (customer: string, source: string, id: string): object => ({
    specversion: '1.0',
    type: 'com.example.usage',
    source,
    id,
    time: iso(Date.now()),
    subject: customer,
    data: { tenantId: TENANT, apiEndpoint: '/api', metadata: { tokens: 5 } },
  });
  const post = async (body: unknown, headers: Readonly<Record<string, string>>): Promise<void> => {
    const answer = await weir.http.send('POST', '/usage', JSON.stringify(body), headers);
    expect([answer.status, answer.text.slice(0, 22)]).to.deep.equal([202, '{"status":"accepted","']);
  };
  const ONE = { 'content-type': 'application/cloudevents+json' };

  it('three gateways that number from 1 count as three, each as often as it numbers, however it posts', async () => {
    for (const source of GATEWAYS) {
      for (const id of ['1', '2']) {
        await post(cloudEvent('gateways', source, id), ONE);
        const { data, subject, time } = cloudEvent('gateways', source, id) as Record<string, string>;
        await post(data, {
          'content-type': 'application/json',
          'ce-specversion': '1.0',
          'ce-type': 't',
          'ce-id': id,
          'ce-source': encodeURIComponent(source),
          'ce-time': time!,
          'ce-subject': subject!,
        });
      }
    }
    const batch = GATEWAYS.map((source) => cloudEvent('gateways', source, '3'));
    for (const path of ['/usage', '/usage/batch']) {
      const type = { 'content-type': 'application/cloudevents-batch+json' };
      const answer = await weir.http.send('POST', path, JSON.stringify(batch), type);
      expect([answer.status, answer.body]).to.deep.equal([202, { accepted: 3, rejected: [] }]);
    }
    expect((await caller.counted('gateways', 9)).day.tokens).to.equal(45);
    for (const source of GATEWAYS) {
      const receipt = await caller.receiptWhen('1', ({ duplicates }) => duplicates === 1, { source });
      expect(receipt).to.include({ customerId: 'gateways', source, counted: 1, tokens: 5 });
    }
    const { status, body } = await caller.get<Problem & { sources: string[]; customers: string[] }>(
      '/usage/events/1?customerId=gateways',
    );
    expect([status, body.code, body.customers, body.sources]).to.deep.equal([
      409,
      'ambiguous_event',
      ['gateways'],
      GATEWAYS,
    ]);
  });

  it('an event without a source is another one than a CloudEvent of its id', async () => {
    await caller.post(usage('both', { eventId: 'both' }));
    await post(cloudEvent('both', '/gateway/1', 'both'), ONE);
    await caller.counted('both', 2);
    const bare = await caller.receiptWhen('both', () => true, { source: '' });
    expect(bare).to.include({ source: null, tokens: 10, duplicates: 0 });
    const wrapped = await caller.receiptWhen('both', () => true, { source: '/gateway/1' });
    expect(wrapped).to.include({ source: '/gateway/1', tokens: 5, duplicates: 0 });
  });
});
