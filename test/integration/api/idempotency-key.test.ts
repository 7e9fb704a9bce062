import { request } from 'node:http';
import { expect } from 'chai';
import { admissionKey } from '../../../shared/messages/admissions.js';
import { admissionMessages, ask, idIn } from './admissions-under-test.js';
import { ApiUnderTest, flag } from './api-under-test.js';
import { cloudEvent, idsOf, usage, usageMessages } from './usage-under-test.js';

describe('api: Idempotency-Key', () => {
  let api: ApiUnderTest;

  before(async () => {
    api = await (await ApiUnderTest.start({ ADMISSION_DEADLINE_MS: '20', FAIL_MODE: 'closed' })).connected();
  });
  afterEach(() => api.redis.del(api.slots.all.map((slot) => slot.keys.stream)));
  after(() => api.close());

  const { eventId: _none, ...nameless } = usage('');
  const named = (id: string) => ({ 'idempotency-key': id });
  /** Path → a body without an id, one that has this id, and the ids in the stream. */
  const posts = [
    ['/event', () => flag('u'), (id: string) => flag('u', { event_id: id }), 'event_id'],
    ['/usage', () => nameless, (id: string) => usage(id), 'eventId'],
    ['/admissions', () => ask(), (id: string) => ask({ request_id: id }), 'request_id'],
    ['/v1/evaluate', () => ask(), (id: string) => ask({ request_id: id }), 'request_id'],
  ] as const;

  /** What tells messages apart: their ids, of admissions the keys and hashes of their requests. */
  const identities = async (): Promise<string[]> => {
    const asked = await admissionMessages(api);
    if (asked.length === 0) return idsOf(await api.messages());
    return asked.map((message) => `${admissionKey(idIn(message))} ${String(message.data['body'])}`);
  };

  for (const [path, without, having, field] of posts) {
    it(`is the id of a POST ${path} that has none`, async () => {
      await api.post(path, having('mine-1'));
      await api.post(path, without(), named('mine-1'));
      await api.post(path, without(), named('"mine-1"'));
      await api.post(path, having('mine-1'), named('mine-1'));
      const ids = await identities();
      expect(ids).to.have.lengthOf(4);
      expect(new Set(ids).size).to.equal(1);
    });

    it(`must not be another id than that of a POST ${path}`, async () => {
      const answer = await api.post(path, having('mine-1'), named('mine-2'));
      expect([answer.status, answer.body['code']]).to.deep.equal([422, 'invalid_request']);
      expect(answer.body['errors']).to.deep.equal([
        { path: 'Idempotency-Key', message: `is another id than ${field}: leave one of them out` },
      ]);
      expect(await api.messages()).to.deep.equal([]);
    });
  }

  it('is compared with the id of a CloudEvent, which always has one', async () => {
    const as = { 'content-type': 'application/cloudevents+json' };
    expect((await api.post('/usage', cloudEvent('e1'), { ...as, ...named('e1') })).status).to.equal(202);
    expect((await api.post('/usage', cloudEvent('e1'), { ...as, ...named('e2') })).status).to.equal(422);
    expect(await usageMessages(api)).to.have.lengthOf(1);
  });

  it('is not looked at where it stands for nothing: batches, the end of an admission', async () => {
    const twice = [flag('u', { event_id: 'e1' }), flag('u', { event_id: 'e2' })];
    const body = (await api.post('/events', twice, named('x'))).body;
    expect(body).to.deep.equal({ accepted: 2, rejected: [] });
    expect((await api.post('/usage/batch', [usage('e3')], named('x'))).status).to.equal(202);
    expect(idsOf(await api.messages()).sort()).to.deep.equal(['e1', 'e2', 'e3']);
  });

  for (const [what, key, message] of [
    ['none', '', 'must not be empty'],
    ['an empty string', '""', 'must not be empty'],
    ['129 characters', 'a'.repeat(129), 'must have at most 128 characters'],
    ['129 characters in quotes', `"${'a'.repeat(129)}"`, 'must have at most 128 characters'],
    ['half a string', '"abc', 'begins with a quote and is no quoted string'],
    ['a quote alone', '"', 'begins with a quote and is no quoted string'],
    ['two strings', '"a", "b"', 'begins with a quote and is no quoted string'],
    ['parameters', '"a";b=1', 'begins with a quote and is no quoted string'],
    ['an escape that is none', '"a\\b"', 'begins with a quote and is no quoted string'],
    ['no ASCII', 'Zo\u00eb', 'must be ASCII: other ids go into the body'],
    ['no ASCII in quotes', '"Zo\u00eb"', 'must be ASCII: other ids go into the body'],
  ] as const) {
    it(`is refused where it is ${what}`, async () => {
      for (const [path, without] of posts) {
        const answer = await api.post(path, without(), named(key));
        expect([path, answer.status, answer.body['errors']]).to.deep.equal([
          path,
          422,
          [{ path: 'Idempotency-Key', message }],
        ]);
      }
      expect(await api.messages()).to.deep.equal([]);
    });
  }

  it('is refused where it is given twice', async () => {
    const { hostname, port } = new URL(api.url);
    const headers = { 'content-type': 'application/json', 'idempotency-key': ['same', 'same'] };
    const answer = await new Promise<string>((resolve, reject) => {
      const sent = request({ hostname, port, method: 'POST', path: '/event', headers }, (res) => {
        let text = '';
        res.on('data', (part) => {
          text += String(part);
        });
        res.on('end', () => resolve(`${res.statusCode} ${text}`));
      });
      sent.on('error', reject);
      sent.end(JSON.stringify(flag('u')));
    });
    expect(answer).to.match(/^422 /);
    expect(answer).to.include('{"path":"Idempotency-Key","message":"is given twice"}');
    expect(await api.messages()).to.deep.equal([]);
  });

  it('is what stands in the quotes', async () => {
    await api.post('/event', flag('u'), named('"a \\"b\\" \\\\ , c"'));
    await api.post('/event', flag('u'), named('a, b'));
    await api.post('/event', flag('u'), named('a"b'));
    expect(idsOf(await api.messages())).to.deep.equal(['a "b" \\ , c', 'a, b', 'a"b']);
  });
});
