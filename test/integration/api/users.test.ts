import { expect } from 'chai';
import type { Redis } from 'ioredis';
import type { Message } from '../../../shared/messages/message.js';
import { encodeUser } from '../../../shared/state/state-codec.js';
import { NEW_USER, type UserState } from '../../../shared/state/user-state.js';
import { until } from '../../support/redis-server.js';
import { ApiUnderTest } from './api-under-test.js';

describe('api: users', () => {
  let api: ApiUnderTest;

  beforeEach(async () => {
    api = await (await ApiUnderTest.start({ REPLY_DEADLINE_MS: '400' })).connected();
  });
  afterEach(() => api.close());

  const restricted: UserState = {
    ...NEW_USER,
    profile: {
      scamFlags: 2,
      cards: [
        ['c1', '1'],
        ['c2', '2'],
        ['c3', '1'],
      ],
      spend: 3000n,
      chargebacks: 12345678901234n,
    },
    restrictions: [
      {
        ...{ rule: 'scam_message_rule', version: 1, feature: 'message', reason: '2 flags' },
        ...{ evidence: ['e1', 'e2'], restrictedAt: 1700000000000, expiresAt: null },
      },
    ],
    overrides: [
      {
        feature: 'purchase',
        allow: false,
        reason: 'fraud',
        actor: 'ann',
        setAt: 1700000001000,
        expiresAt: 1800000000000,
      },
    ],
  };

  const write = (userId: string, user: UserState): Promise<unknown> =>
    api.redis.set(api.slots.userKey(userId), encodeUser(user));

  it('lets an unknown user do everything', async () => {
    expect((await api.get('/canmessage?user_id=nobody')).body).to.deep.equal({ can_message: true });
    expect((await api.get('/canpurchase?user_id=nobody')).body).to.deep.equal({ can_purchase: true });
    expect((await api.get('/users/nobody/restrictions')).body).to.deep.equal({
      user_id: 'nobody',
      restrictions: [],
      overrides: [],
      profile: {
        ...{ scam_message_flags: 0, total_credit_cards: 0, unique_zip_codes: 0 },
        ...{ total_spend: 0, total_chargebacks: 0 },
      },
    });
  });

  it('answers from what the workers decided', async () => {
    await write('u', { ...restricted, overrides: [] });
    expect((await api.get('/canmessage?user_id=u')).body).to.deep.equal({ can_message: false });
    expect((await api.get('/canpurchase?user_id=u')).body).to.deep.equal({ can_purchase: true });
    await write('u', {
      ...restricted,
      overrides: [{ feature: 'message', allow: true, reason: 'r', actor: 'a', setAt: 1, expiresAt: null }],
    });
    expect((await api.get('/canmessage?user_id=u')).body).to.deep.equal({ can_message: true });
  });

  it('ends what has an end by the clock of Redis, whatever its own clock says, and though nobody folds', async () => {
    const [seconds] = await api.redis.time();
    const nowMs = Number(seconds) * 1000;
    const restriction = { ...restricted.restrictions[0]!, feature: 'purchase' as const };
    const override = { ...restricted.overrides[0]!, feature: 'message' as const };
    const ends = (restrictionEnd: number | null, allow: boolean, overrideEnd: number | null): UserState => ({
      ...restricted,
      restrictions: [
        { ...restricted.restrictions[0]!, expiresAt: null },
        { ...restriction, expiresAt: restrictionEnd },
      ],
      overrides: [{ ...override, allow, expiresAt: overrideEnd }],
    });
    const [past, future] = [nowMs - 1000, nowMs + 60_000];
    await write('ended', ends(past, true, past));
    await write('holds', ends(future, true, future));
    await write('allowed', { ...ends(past, false, past), restrictions: [] });
    const realNow = Date.now;
    for (const aheadMs of [-86_400_000, 86_400_000]) {
      Date.now = () => realNow() + aheadMs;
      try {
        const can = async (user: string) => [
          (await api.get(`/canmessage?user_id=${user}`)).body['can_message'],
          (await api.get(`/canpurchase?user_id=${user}`)).body['can_purchase'],
        ];
        // The override that allowed it is over: the rule beneath holds again.
        expect(await can('ended')).to.deep.equal([false, true]);
        expect(await can('holds')).to.deep.equal([true, false]);
        expect(await can('allowed')).to.deep.equal([true, true]);
        const shown = async (user: string) => {
          const { body } = await api.get(`/users/${user}/restrictions`);
          const { restrictions, overrides } = body as Record<string, { feature: string }[]>;
          return [restrictions, overrides].map((list) => list!.map(({ feature }) => feature));
        };
        expect(await shown('ended')).to.deep.equal([['message'], []]);
        expect(await shown('holds')).to.deep.equal([['message', 'purchase'], ['message']]);
        expect(await shown('allowed')).to.deep.equal([[], []]);
      } finally {
        Date.now = realNow;
      }
    }
  });

  it('decodes user ids in query and path', async () => {
    await write('Zoë+ä&b/c', restricted);
    const encoded = encodeURIComponent('Zoë+ä&b/c');
    expect((await api.get(`/canmessage?user_id=${encoded}`)).body).to.deep.equal({ can_message: false });
    expect((await api.get(`/users/${encoded}/restrictions`)).body['user_id']).to.equal('Zoë+ä&b/c');
  });

  it('shows why: rules with their evidence, people with their reasons, exact sums', async () => {
    await write('u', restricted);
    expect((await api.get('/users/u/restrictions')).body).to.deep.equal({
      user_id: 'u',
      restrictions: [
        {
          ...{ feature: 'purchase', source: 'manual', rule: null, rule_version: null, reason: 'fraud' },
          ...{
            evidence: [],
            restricted_at: '2023-11-14T22:13:21.000Z',
            expires_at: '2027-01-15T08:00:00.000Z',
          },
        },
        {
          ...{
            feature: 'message',
            source: 'rule',
            rule: 'scam_message_rule',
            rule_version: 1,
            reason: '2 flags',
          },
          ...{ evidence: ['e1', 'e2'], restricted_at: '2023-11-14T22:13:20.000Z', expires_at: null },
        },
      ],
      overrides: [
        {
          ...{ feature: 'purchase', allow: false, reason: 'fraud', actor: 'ann' },
          ...{ set_at: '2023-11-14T22:13:21.000Z', expires_at: '2027-01-15T08:00:00.000Z' },
        },
      ],
      profile: {
        ...{ scam_message_flags: 2, total_credit_cards: 3, unique_zip_codes: 2 },
        ...{ total_spend: 0.3, total_chargebacks: 1234567890.1234 },
      },
    });
  });

  it('answers 503 for a document that a newer version wrote', async () => {
    await api.redis.set(api.slots.userKey('u'), '{"v":99}');
    const answer = await api.get('/canmessage?user_id=u');
    expect([answer.status, answer.body['code']]).to.deep.equal([503, 'store_unavailable']);
  });

  /** Waits for the next message and answers it as a worker would. */
  async function playWorker(reply: object, publish: boolean, worker: Redis = api.redis): Promise<Message> {
    let message: Message | undefined;
    await until(2000, 'the command is in the stream', async () => {
      message = (await api.messages())[0];
      return message !== undefined;
    });
    const [apiProcess, replyId] = message!.reply!.split('/') as [string, string];
    const body = JSON.stringify(reply);
    await worker.set(api.slots.ofUser(message!.subject).keys.reply(replyId), body, 'EX', 60);
    if (publish) await worker.publish(api.keys.replyChannel(apiProcess), `${replyId} ${body}`);
    return message!;
  }

  const override = { allow: false, reason: 'looks wrong', actor: 'ann' };

  for (const publish of [true, false]) {
    it(`answers 200 once a worker has applied an override${publish ? '' : ', even if its publication is lost'}`, async () => {
      const expiresAt = new Date(Date.now() + 60_000).toISOString();
      const [answer, message] = await Promise.all([
        api.request('PUT', '/users/u/overrides/message', { ...override, expires_at: expiresAt }),
        playWorker({}, publish),
      ]);
      expect(answer.status).to.equal(200);
      expect(answer.body).to.deep.equal({
        ...{ status: 'applied', user_id: 'u', feature: 'message', ...override, expires_at: expiresAt },
      });
      expect(message.type).to.equal('override_put');
      expect(message.subject).to.equal('u');
      expect(message.data).to.deep.equal({
        feature: 'message',
        ...override,
        expires_at: Date.parse(expiresAt),
      });
    });
  }

  it('answers 200 to a delete, saying whether there was one', async () => {
    const [answer, message] = await Promise.all([
      api.request('DELETE', '/users/u/overrides/purchase'),
      playWorker({ existed: true }, true),
    ]);
    expect(answer.status).to.equal(200);
    expect(answer.body).to.deep.equal({
      status: 'applied',
      user_id: 'u',
      feature: 'purchase',
      existed: true,
    });
    expect([message.type, message.data]).to.deep.equal(['override_delete', { feature: 'purchase' }]);
  });

  it('answers 202 when no worker answers in time; the command is in the stream', async () => {
    const answer = await api.request('PUT', '/users/u/overrides/message', override);
    expect(answer.status).to.equal(202);
    expect(answer.body).to.deep.equal({ status: 'accepted' });
    expect(await api.messages()).to.have.length(1);
  });

  const defects: readonly (readonly [what: string, body: object, path: string])[] = [
    ['no actor', { allow: true, reason: 'r' }, 'actor'],
    ['no reason', { allow: true, actor: 'a' }, 'reason'],
    ['an empty reason', { ...override, reason: '' }, 'reason'],
    ['a reason of 501 characters', { ...override, reason: 'r'.repeat(501) }, 'reason'],
    ['an actor of 129 characters', { ...override, actor: 'a'.repeat(129) }, 'actor'],
    ['U+0000 in the reason', { ...override, reason: 'a\0' }, 'reason'],
    ['allow as text', { ...override, allow: 'yes' }, 'allow'],
    ['an unknown field', { ...override, x: 1 }, 'x'],
    ['an expiry in the past', { ...override, expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
    ['an expiry that is no time', { ...override, expires_at: 'tomorrow' }, 'expires_at'],
  ];
  for (const [what, body, path] of defects) {
    it(`answers 422 to an override with ${what}`, async () => {
      const answer = await api.request('PUT', '/users/u/overrides/message', body);
      expect([answer.status, answer.body['code']]).to.deep.equal([422, 'invalid_request']);
      expect((answer.body['errors'] as { path: string }[])[0]!.path).to.equal(path);
      expect(await api.messages()).to.deep.equal([]);
    });
  }

  it('answers 422 unknown_feature with the known ones', async () => {
    for (const method of ['PUT', 'DELETE']) {
      const answer = await api.request(method, '/users/u/overrides/flying', override);
      expect([answer.status, answer.body['code']]).to.deep.equal([422, 'unknown_feature']);
      expect(answer.body['known']).to.deep.equal(['message', 'purchase']);
    }
  });
});
