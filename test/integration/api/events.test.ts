import { expect } from 'chai';
import { partitionOf } from '../../../shared/topics.js';
import { ApiUnderTest, flag } from './api-under-test.js';

describe('api: POST /event and /events', () => {
  let api: ApiUnderTest;

  beforeEach(async () => {
    api = await (await ApiUnderTest.start()).connected();
  });
  afterEach(() => api.close());

  it('has the message in the stream of its partition before it answers', async () => {
    const answer = await api.post(
      '/event',
      {
        name: 'credit_card_added',
        event_properties: { user_id: 'Zoë', card_id: 'c1', zip_code: '10115', extra: 'ignored', flag: null },
        event_id: 'e1',
        timestamp: '2026-11-20T10:00:00.5+01:00',
      },
      { 'x-request-id': 'req-1', 'content-type': 'application/json; charset=UTF-8' },
    );
    expect(answer.status).to.equal(202);
    expect(answer.body).to.deep.equal({ status: 'accepted', event_id: 'e1' });
    const keys = api.slots.all[partitionOf('default', 'Zoë', 4)]!.keys;
    expect(await api.redis.xlen(keys.stream)).to.equal(1);
    expect(await api.messages()).to.deep.equal([
      {
        type: 'credit_card_added',
        subject: 'Zoë',
        id: 'e1',
        data: { card_id: 'c1', zip_code: '10115' },
        timestamp: Date.parse('2026-11-20T09:00:00.500Z'),
        request: 'req-1',
      },
    ]);
  });

  it('makes an event id where there is none', async () => {
    const answers = await Promise.all([api.post('/event', flag('u')), api.post('/event', flag('u'))]);
    const ids = answers.map(({ body }) => body['event_id'] as string);
    expect(new Set(ids).size).to.equal(2);
    expect((await api.messages()).map(({ id }) => id)).to.have.members(ids);
  });

  it('appends 500 concurrent events exactly once each', async () => {
    const ids = Array.from({ length: 500 }, (_, i) => `e${i}`);
    const answers = await Promise.all(
      ids.map((id, i) => api.post('/event', flag(`u${i % 50}`, { event_id: id }))),
    );
    expect(new Set(answers.map(({ status }) => status))).to.deep.equal(new Set([202]));
    expect((await api.messages()).map(({ id }) => id).sort()).to.deep.equal([...ids].sort());
    expect(await api.appended()).to.equal(500);
  });

  it('takes an array, keeps the order within each user, and lists what it rejects', async () => {
    const good = Array.from({ length: 600 }, (_, i) => flag(`u${i % 7}`, { event_id: `e${i}` }));
    const items: unknown[] = [...good];
    items.splice(100, 0, { name: 'nothing', event_properties: { user_id: 'u' }, event_id: 'bad' });
    items.splice(200, 0, 'text');
    const answer = await api.post('/events', items);
    expect(answer.status).to.equal(202);
    expect(answer.body['accepted']).to.equal(600);
    expect(answer.body['rejected']).to.deep.equal([
      {
        ...{ index: 100, event_id: 'bad', code: 'unknown_event' },
        detail:
          'There is no event of this name. Known: scam_message_flagged, credit_card_added, purchase_made, chargeback_occurred.',
      },
      { index: 200, code: 'invalid_request', detail: 'The event must be an object.' },
    ]);
    const messages = await api.messages();
    expect(messages).to.have.length(600);
    for (let user = 0; user < 7; user++) {
      const ids = messages.filter(({ subject }) => subject === `u${user}`).map(({ id }) => id);
      const sent = Array.from({ length: 600 }, (_, i) => i).filter((i) => i % 7 === user);
      expect(ids).to.deep.equal(sent.map((i) => `e${i}`));
    }
  });

  it('takes lines of JSON, skips blank lines and rejects a broken line alone', async () => {
    const lines = [
      JSON.stringify(flag('a', { event_id: 'e0' })),
      '',
      '{"name":',
      '  ',
      JSON.stringify(flag('b', { event_id: 'e2' })),
      '',
    ];
    for (const type of ['application/x-ndjson', 'application/ndjson; charset=utf-8']) {
      const answer = await api.post('/events', lines.join('\r\n'), { 'content-type': type });
      expect(answer.status).to.equal(202);
      expect(answer.body).to.deep.equal({
        accepted: 2,
        rejected: [{ index: 1, code: 'malformed_json', detail: 'The line is not valid JSON.' }],
      });
    }
    expect((await api.messages()).map(({ id }) => id).sort()).to.deep.equal(['e0', 'e0', 'e2', 'e2']);
  });

  it('skips a byte order mark before lines, arrays and events', async () => {
    const lines = ['e0', 'e1'].map((id) => JSON.stringify(flag('u', { event_id: id })));
    const ndjson = { 'content-type': 'application/x-ndjson' };
    expect((await api.post('/events', `\ufeff${lines.join('\n')}`, ndjson)).body['accepted']).to.equal(2);
    expect((await api.post('/events', `\ufeff[${lines.join()}]`)).body['accepted']).to.equal(2);
    expect((await api.post('/event', `\ufeff${lines[0]}`)).status).to.equal(202);
    expect(await api.appended()).to.equal(5);
  });

  it('rejects a line that is nested too deep alone, and an array as a whole', async () => {
    const deep = `${'['.repeat(70)}${']'.repeat(70)}`;
    const valid = JSON.stringify(flag('u'));
    const ndjson = { 'content-type': 'application/x-ndjson' };
    expect((await api.post('/events', `${deep}\n${valid}`, ndjson)).body).to.deep.equal({
      accepted: 1,
      rejected: [
        {
          ...{ index: 0, code: 'invalid_request' },
          detail: 'The line must not be nested deeper than 64 levels.',
        },
      ],
    });
    const whole = await api.post('/events', `[${deep},${valid}]`);
    expect([whole.status, whole.body['code']]).to.deep.equal([422, 'invalid_request']);
    expect(whole.body).not.to.have.property('rejected');
    expect(await api.appended()).to.equal(1);
  });

  const refused: readonly (readonly [
    what: string,
    body: string,
    type: string,
    status: number,
    code: string,
  ])[] = [
    ['an empty array', '[]', 'application/json', 422, 'invalid_request'],
    ['no lines', '\n\n', 'application/x-ndjson', 422, 'invalid_request'],
    ['an object', '{}', 'application/json', 422, 'invalid_request'],
    [
      '1,001 items',
      `[${Array(1001)
        .fill(JSON.stringify(flag('u')))
        .join(',')}]`,
      'application/json',
      422,
      'invalid_request',
    ],
    [
      '1,001 lines',
      Array(1001)
        .fill(JSON.stringify(flag('u')))
        .join('\n'),
      'application/x-ndjson',
      422,
      'invalid_request',
    ],
    ['a broken array', '[{}', 'application/json', 400, 'malformed_json'],
  ];
  for (const [what, body, type, status, code] of refused) {
    it(`refuses ${what} as a whole`, async () => {
      const answer = await api.post('/events', body, { 'content-type': type });
      expect({ status: answer.status, code: answer.body['code'] }).to.deep.equal({ status, code });
      expect(await api.messages()).to.deep.equal([]);
    });
  }

  it('answers 422 with the list when none is valid', async () => {
    const answer = await api.post('/events', [flag(''), 1]);
    expect(answer.status).to.equal(422);
    expect(answer.body['code']).to.equal('invalid_request');
    expect((answer.body['rejected'] as { index: number }[]).map(({ index }) => index)).to.deep.equal([0, 1]);
  });

  it('accepts exactly 1,000', async () => {
    const answer = await api.post(
      '/events',
      Array.from({ length: 1000 }, (_, i) => flag(`u${i}`)),
    );
    expect(answer.body).to.deep.equal({ accepted: 1000, rejected: [] });
    expect(await api.appended()).to.equal(1000);
  });
});
