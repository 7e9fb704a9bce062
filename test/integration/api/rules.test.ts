import { expect } from 'chai';
import { RULES } from '../../../rules/restrictions/registry.js';
import { readControls } from '../../../shared/control/control-log.js';
import { PARTITION_DOCUMENT } from '../../../shared/keys.js';
import type { Control } from '../../../shared/messages/commands.js';
import type { Message } from '../../../shared/messages/message.js';
import { decodeEntry } from '../../../shared/messages/record-batch.js';
import { CONTROLS_MAX, NEW_PARTITION } from '../../../shared/state/partition-state.js';
import { encodePartition } from '../../../shared/state/state-codec.js';
import { until } from '../../support/redis-server.js';
import { type Answer, ApiUnderTest } from './api-under-test.js';

describe('api: rules', () => {
  let api: ApiUnderTest;

  beforeEach(async () => {
    api = await (await ApiUnderTest.start({ REPLY_DEADLINE_MS: '500' })).connected();
  });
  afterEach(() => api.close());

  const rule = RULES[0]!;

  interface View {
    readonly name: string;
    readonly mode: string;
    readonly tripwire: Record<string, unknown>;
  }

  async function view(name = rule.name): Promise<View> {
    const { status, body } = await api.get('/rules');
    expect(status).to.equal(200);
    return (body['rules'] as View[]).find((candidate) => candidate.name === name)!;
  }

  /** Answers the last message of the first `partitions` partitions, as their owners would. */
  async function playWorkers(replies: readonly object[]): Promise<Control[]> {
    const controls: Control[] = [];
    for (const [index, reply] of replies.entries()) {
      const { keys } = api.slots.all[index]!;
      await until(2000, 'the control is in the stream', async () => (await api.redis.xlen(keys.stream)) > 0);
      const [raw] = await api.redis.xrevrange(keys.stream, '+', '-', 'COUNT', 1);
      const entry = decodeEntry(raw!);
      if (entry.kind !== 'batch') throw new Error(entry.kind);
      const message = entry.messages[0] as Message<Control>;
      expect(message.type).to.equal('control');
      expect(message.subject).to.equal('');
      expect(message.id).to.equal(`control-${message.data.control}`);
      const [apiProcess, replyId] = message.reply!.split('/') as [string, string];
      const body = JSON.stringify(reply);
      await api.redis.set(keys.reply(replyId), body, 'EX', 60);
      await api.redis.publish(api.keys.replyChannel(apiProcess), `${replyId} ${body}`);
      controls.push(message.data);
    }
    return controls;
  }

  const applied = Array(4).fill({ applied: true });

  async function apply(call: Promise<Answer>, replies: readonly object[]): Promise<[Answer, Control[]]> {
    return Promise.all([call, playWorkers(replies)]);
  }

  it('lists every rule with its defaults and an armed tripwire', async () => {
    const { body } = await api.get('/rules');
    expect((body['rules'] as View[]).map(({ name }) => name)).to.deep.equal(RULES.map(({ name }) => name));
    expect(await view()).to.deep.equal({
      ...{ name: rule.name, version: rule.version, description: rule.description },
      ...{ mode: 'live', feature: rule.feature, restricted_users: 0, shadow_users: 0 },
      errors: { count: 0, last: null, at: null },
      tripwire: {
        ...{ state: 'armed', affected: 0, population: 0, share: 0, max_share: 0.05, max_users: null },
        ...{ min_population: 20, window_seconds: 300, tripped_at: null, population_at_trip: null },
      },
    });
  });

  it('adds up the users that the partitions know', async () => {
    for (const [index, users] of [10, 0, 30, 5].entries()) {
      const state = { ...NEW_PARTITION, users, shadow: { [rule.name]: index } };
      await api.redis.set(api.slots.all[index]!.keys.doc(PARTITION_DOCUMENT), encodePartition(state));
    }
    const shown = await view();
    expect(shown.tripwire['population']).to.equal(45);
    expect(shown).to.include({ shadow_users: 6 });
  });

  it('adds up what a rule threw on the partitions, and tells the last of it', async () => {
    const errors = [
      undefined,
      { count: 2, last: 'a', at: 1700000002000 },
      { count: 5, last: 'b', at: 1700000001000 },
    ];
    for (const [index, error] of errors.entries()) {
      const state =
        error === undefined ? NEW_PARTITION : { ...NEW_PARTITION, errors: { [rule.name]: error } };
      await api.redis.set(api.slots.all[index]!.keys.doc(PARTITION_DOCUMENT), encodePartition(state));
    }
    expect(await view()).to.deep.include({ errors: { count: 7, last: 'a', at: '2023-11-14T22:13:22.000Z' } });
    expect(await view(RULES[1]!.name)).to.deep.include({ errors: { count: 0, last: null, at: null } });
  });

  it('sets a mode on every partition and answers 200 when all have applied it', async () => {
    const call = api.request('PUT', `/rules/${rule.name}/mode`, {
      mode: 'shadow',
      actor: 'ann',
      reason: 'try',
    });
    const [answer, controls] = await apply(call, applied);
    expect([answer.status, answer.body]).to.deep.equal([
      200,
      { status: 'applied', name: rule.name, mode: 'shadow', lifted: 0 },
    ]);
    expect(new Set(controls.map(({ control }) => control)).size).to.equal(1);
    expect(controls[0]).to.deep.include({ rule: rule.name, action: 'mode', mode: 'shadow', lift: false });
    expect(await readControls(api.redis, api.keys)).to.deep.equal([controls[0]]);
    expect((await view()).mode).to.equal('shadow');
  });

  it('sums what the partitions lifted', async () => {
    const call = api.request('PUT', `/rules/${rule.name}/mode`, { mode: 'off', lift: true });
    const [answer] = await apply(
      call,
      [1, 2, 3, 4].map((lifted) => ({ applied: true, lifted })),
    );
    expect(answer.body).to.include({ mode: 'off', lifted: 10 });
  });

  it('answers 202 while some partitions have not applied it', async () => {
    const call = api.request('PUT', `/rules/${rule.name}/mode`, { mode: 'off' });
    const [answer] = await apply(call, [{ applied: true }, { unknown_rule: true }]);
    expect(answer.status).to.equal(202);
    expect(answer.body).to.include({ status: 'accepted', applied: 1, partitions: 4 });
  });

  it('merges limits with those in force, also of two calls at once', async () => {
    const calls = Promise.all([
      api.request('PUT', `/rules/${rule.name}/tripwire`, { max_share: 0.5 }),
      api.request('PUT', `/rules/${rule.name}/tripwire`, { max_users: 7, min_population: 0 }),
    ]);
    expect((await calls).map(({ status }) => status)).to.deep.equal([202, 202]);
    expect((await view()).tripwire).to.include({
      ...{ max_share: 0.5, max_users: 7, min_population: 0, window_seconds: 300 },
    });
    const controls = await readControls(api.redis, api.keys);
    expect(controls.map(({ action }) => action)).to.deep.equal(['tripwire', 'tripwire']);
    for (const slot of api.slots.all) await api.redis.del(slot.keys.stream);
    const [answer] = await apply(
      api.request('PUT', `/rules/${rule.name}/tripwire`, { max_users: null, window_seconds: 60 }),
      applied,
    );
    expect(answer.status).to.equal(200);
    expect(answer.body['tripwire']).to.deep.equal({
      ...{ max_share: 0.5, max_users: null, min_population: 0, window_seconds: 60 },
    });
  });

  it('re-arms the wire at once, in the era of the control', async () => {
    const { wire } = api.keys.tripwire(rule.name);
    await api.redis.hset(wire, { tripped_at: 1700000000000, affected: 5, population: 50 });
    expect((await view()).tripwire).to.include({
      ...{ state: 'tripped', affected: 5, tripped_at: '2023-11-14T22:13:20.000Z', population_at_trip: 50 },
    });
    const [answer, controls] = await apply(api.post(`/rules/${rule.name}/rearm`), applied);
    expect([answer.status, answer.body]).to.deep.equal([
      200,
      { status: 'applied', name: rule.name, lifted: 0 },
    ]);
    expect(await api.redis.hget(wire, 'era')).to.equal(controls[0]!.control);
    expect((await view()).tripwire).to.include({ state: 'armed', tripped_at: null });
  });

  it('rolls back from the beginning of the frozen window, sums, and forgets who was reserved', async () => {
    const { wire, reserved } = api.keys.tripwire(rule.name);
    await api.redis.hset(wire, { tripped_at: 1700000000000, affected: 5, population: 50 });
    await api.redis.zadd(reserved, 1700000000000 - 1000, 'u1', String(Date.now() + 3_600_000), 'u2');
    const replies = [{ lifted: 2 }, { lifted: 0 }, { lifted: 3 }, { lifted: 0 }];
    const [answer, controls] = await apply(
      api.post(`/rules/${rule.name}/rollback`, { actor: 'ann', reason: 'runaway' }),
      replies,
    );
    expect([answer.status, answer.body]).to.deep.equal([
      200,
      { status: 'applied', name: rule.name, lifted: 5 },
    ]);
    expect(controls[0]).to.deep.include({ action: 'rollback', since: 1700000000000 - 300_000 });
    expect(await api.redis.zrange(reserved, '0', '-1')).to.deep.equal(['u2']);
  });

  it('keeps no more controls than a partition remembers', async () => {
    await Promise.all(Array.from({ length: CONTROLS_MAX + 5 }, () => api.post(`/rules/${rule.name}/rearm`)));
    expect(await api.redis.xlen(api.keys.controlLog)).to.equal(CONTROLS_MAX);
  });

  it('answers 404 unknown_rule with the known ones, and records nothing', async () => {
    const calls = [
      api.request('PUT', '/rules/nothing/mode', { mode: 'off' }),
      api.request('PUT', '/rules/nothing/tripwire', { max_users: 1 }),
      api.post('/rules/nothing/rearm'),
      api.post('/rules/constructor/rollback'),
    ];
    for (const { status, body } of await Promise.all(calls)) {
      expect([status, body['code']]).to.deep.equal([404, 'unknown_rule']);
      expect(body['known']).to.deep.equal(RULES.map(({ name }) => name));
    }
    expect(await api.redis.exists(api.keys.controlLog)).to.equal(0);
  });

  const defects: readonly (readonly [path: string, body: object, defect: string])[] = [
    ['mode', {}, 'mode'],
    ['mode', { mode: 'on' }, 'mode'],
    ['mode', { mode: 'live', lift: true }, 'lift'],
    ['mode', { mode: 'off', x: 1 }, 'x'],
    ['tripwire', {}, ''],
    ['tripwire', { actor: 'ann' }, ''],
    ['tripwire', { max_share: 0 }, 'max_share'],
    ['tripwire', { max_share: 1.1 }, 'max_share'],
    ['tripwire', { max_share: null }, 'max_share'],
    ['tripwire', { max_users: 0 }, 'max_users'],
    ['tripwire', { max_users: 1.5 }, 'max_users'],
    ['tripwire', { min_population: -1 }, 'min_population'],
    ['tripwire', { window_seconds: 86401 }, 'window_seconds'],
  ];
  for (const [path, body, defect] of defects) {
    it(`answers 422 to PUT ${path} with ${JSON.stringify(body)}`, async () => {
      const answer = await api.request('PUT', `/rules/${rule.name}/${path}`, body);
      expect([answer.status, answer.body['code']]).to.deep.equal([422, 'invalid_request']);
      expect((answer.body['errors'] as { path: string }[])[0]!.path).to.equal(defect);
      expect(await api.redis.exists(api.keys.controlLog)).to.equal(0);
    });
  }

  it('answers 422 to a re-arm with an unknown field and 400 to one that is no JSON', async () => {
    expect((await api.post(`/rules/${rule.name}/rearm`, { x: 1 })).status).to.equal(422);
    expect((await api.post(`/rules/${rule.name}/rearm`, '{')).status).to.equal(400);
  });
});
