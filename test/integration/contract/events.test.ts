import { expect } from 'chai';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { card, chargeback, flag, People, purchase } from './people.js';

interface Accepted {
  readonly status: string;
  readonly event_id: string;
}

interface Rejected {
  readonly index: number;
  readonly event_id?: string;
  readonly code: string;
  readonly detail: string;
}

interface BatchAnswer {
  readonly accepted: number;
  readonly rejected: readonly Rejected[];
}

describe('contract: POST /event and /events', () => {
  let weir: WeirFixture;
  let people: People;
  before(async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE });
    people = new People(weir.http);
  });
  after(() => weir.close());

  async function appended(): Promise<number> {
    const counts = await Promise.all(weir.topic.all.map((keys) => weir.redis.get(keys.appended)));
    return counts.reduce((sum, count) => sum + Number(count ?? 0), 0);
  }

  const lines = (items: readonly unknown[]): string => items.map((item) => JSON.stringify(item)).join('\n');
  const postLines = (text: string) =>
    weir.http.post<BatchAnswer>('/events', text, { 'content-type': 'application/x-ndjson' });

  it('takes each of the four events and answers 202 with its id', async () => {
    const events = [flag('four'), card('four', 'c', 'z'), purchase('four', 12.5), chargeback('four', 0.25)];
    for (const event of events) {
      const made = await weir.http.post<Accepted>('/event', event);
      expect(made.status).to.equal(202);
      expect(Object.keys(made.body)).to.deep.equal(['status', 'event_id']);
      expect(made.body.status).to.equal('accepted');
      expect(made.body.event_id).to.be.a('string').that.is.not.empty;
    }
    await people.counted('four', {
      scam_message_flags: 1,
      total_credit_cards: 1,
      unique_zip_codes: 1,
      total_spend: 12.5,
      total_chargebacks: 0.25,
    });
  });

  it('takes JSON under any spelling of its content type', async () => {
    const types = ['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"'];
    for (const type of types) {
      const answer = await weir.http.post('/event', JSON.stringify(purchase('typed', 1)), {
        'content-type': type,
      });
      expect(answer.status, type).to.equal(202);
    }
    await people.counted('typed', { total_spend: 3 });
  });

  it('has the message in the stream before it answers', async () => {
    const before = await appended();
    await people.post(flag('durable'));
    expect(await appended()).to.equal(before + 1);
    await people.postAll([flag('durable-2'), flag('durable-3')]);
    expect(await appended()).to.equal(before + 3);
  });

  it('echoes an event id and counts it once per user, however often it is sent', async () => {
    for (let i = 0; i < 3; i += 1) {
      const { status, body } = await weir.http.post('/event', flag('retry', { event_id: 'e-1' }));
      expect([status, body]).to.deep.equal([202, { status: 'accepted', event_id: 'e-1' }]);
    }
    await people.postAll(Array(3).fill(flag('retry', { event_id: 'e-1' })));
    await people.post(flag('another', { event_id: 'e-1' }));
    await weir.topic.drained();
    await people.counted('retry', { scam_message_flags: 1 });
    await people.counted('another', { scam_message_flags: 1 });
  });

  it('takes ids of 128 characters, in any script, and a timestamp', async () => {
    for (const user of [
      'x'.repeat(128),
      '漢'.repeat(128),
      'a/b c%?#:+&"\\',
      '💳 O’Neill',
      '__proto__',
      ':',
    ]) {
      await people.post(flag(user, { event_id: 'e'.repeat(128), timestamp: '2020-02-29T12:00:00+02:00' }));
      await people.counted(user, { scam_message_flags: 1 });
      expect((await people.view(user)).user_id).to.equal(user);
      expect(await people.canMessage(user)).to.equal(true);
    }
  });

  it('takes a batch as an array and as NDJSON, and keeps the order within a user', async () => {
    const first = await weir.http.post('/events', [card('order', 'c', '1'), card('order', 'c', '2')]);
    expect([first.status, first.body]).to.deep.equal([202, { accepted: 2, rejected: [] }]);
    const posted = [card('order', 'd', '3'), card('order', 'c', '3'), card('order', 'd', '3')];
    for (const text of [lines(posted), `\n${lines(posted).replaceAll('\n', '\r\n\r\n')}\r\n`]) {
      const { status, body } = await postLines(text);
      expect([status, body]).to.deep.equal([202, { accepted: 3, rejected: [] }]);
    }
    await people.counted('order', { total_credit_cards: 2, unique_zip_codes: 1 });
  });

  it('lists what it rejects by index, code and detail, and takes the rest', async () => {
    const items = [
      flag('partial'),
      flag('partial', { event_id: '' }),
      { name: 'nonsense', event_properties: { user_id: 'partial' }, event_id: 'mine' },
      purchase('partial', 3),
      purchase('partial', -1, { event_id: 'negative' }),
      null,
    ];
    const answers = [await weir.http.post<BatchAnswer>('/events', items), await postLines(lines(items))];
    for (const { status, body } of answers) {
      expect([status, body.accepted]).to.deep.equal([202, 2]);
      expect(body.rejected.map(({ index, event_id, code }) => [index, event_id, code])).to.deep.equal([
        [1, undefined, 'invalid_request'],
        [2, 'mine', 'unknown_event'],
        [4, 'negative', 'invalid_request'],
        [5, undefined, 'invalid_request'],
      ]);
      for (const { detail } of body.rejected) expect(detail).to.be.a('string').that.is.not.empty;
    }
    const { body } = await postLines(`${lines([flag('partial')])}\n{"name":\n`);
    expect(body.accepted).to.equal(1);
    expect(body.rejected.map(({ index, code }) => [index, code])).to.deep.equal([[1, 'malformed_json']]);
    await people.counted('partial', { scam_message_flags: 3, total_spend: 6 });
  });

  it('takes 1,000 events and counts every one; refuses 1,001 as a whole', async () => {
    const thousand = Array.from({ length: 1000 }, (_, i) => purchase(`many-${i % 10}`, 0.1));
    const { status, body } = await weir.http.post('/events', thousand);
    expect([status, body]).to.deep.equal([202, { accepted: 1000, rejected: [] }]);
    for (let i = 0; i < 10; i += 1) await people.counted(`many-${i}`, { total_spend: 10 });
    const before = await appended();
    const tooMany = [...thousand, purchase('many-0', 1)];
    for (const refused of [await weir.http.post('/events', tooMany), await postLines(lines(tooMany))]) {
      expect(refused.status).to.equal(422);
      expect(refused.body).to.include({ code: 'invalid_request' });
    }
    expect(await appended()).to.equal(before);
  });

  it('answers 422 to a batch without one valid event, and says why for each', async () => {
    const before = await appended();
    const items = [flag(''), { name: 'nonsense' }];
    for (const { status, body } of [
      await weir.http.post<BatchAnswer>('/events', items),
      await postLines(lines(items)),
    ]) {
      expect(status).to.equal(422);
      expect(body).to.include({ code: 'invalid_request', status: 422 });
      expect(body.rejected.map(({ index, code }) => [index, code])).to.deep.equal([
        [0, 'invalid_request'],
        [1, 'unknown_event'],
      ]);
    }
    for (const empty of [[], {}, 'null', '1']) {
      expect((await weir.http.post('/events', empty)).status).to.equal(422);
    }
    expect((await postLines('\n\n')).status).to.equal(422);
    expect((await weir.http.post('/events', '[')).status).to.equal(400);
    expect(await appended()).to.equal(before);
  });

  it('answers the question as soon as the decision is made, whoever asks which API', async () => {
    const second = await weir.api();
    await weir.http.post('/event', flag('visible'));
    await second.post('/event', flag('visible'));
    for (const http of [weir.http, second]) {
      await until(
        10_000,
        'the decision is visible',
        async () => !(await new People(http).canMessage('visible')),
      );
    }
  });
});
