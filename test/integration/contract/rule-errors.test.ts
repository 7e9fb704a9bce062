import { expect } from 'chai';
import { RULES } from '../../../rules/restrictions/registry.js';
import type { Rule } from '../../../rules/restrictions/rule.js';
import { DANGEROUS_RULES, THROWING_CARD } from '../../support/dangerous-rule.js';
import type { HttpClient } from '../../support/http-client.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { WorkerProcess } from '../../support/worker-process.js';
import { card, flag, ISO, People } from './people.js';

const carelessRule: Rule = {
  ...{ name: 'careless_rule', version: 1, feature: 'message', mode: 'shadow' },
  description: 'Reads the first card of a user who may have none.',
  evidence: ['credit_card_added'],
  matches: ({ profile }) => (profile.cards[0]![0] === 'x' ? 'x' : null),
};
const rules = [carelessRule, ...RULES];

interface Errors {
  readonly count: number;
  readonly last: string | null;
  readonly at: string | null;
}

async function errorsOf(http: HttpClient, name: string): Promise<Errors> {
  const { body } = await http.get<{ rules: { name: string; errors: Errors }[] }>('/rules');
  return body.rules.find((rule) => rule.name === name)!.errors;
}

describe('contract: a rule that throws', () => {
  let weir: WeirFixture;
  let http: HttpClient;
  let people: People;
  beforeEach(async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE, workers: 0 });
    http = await weir.api({}, rules);
    people = new People(http);
  });
  afterEach(() => weir.close());

  it('is told by GET /rules and the metrics; its event counts, and live rules restrict', async () => {
    const { opsUrl } = await weir.worker({}, rules);
    const metrics = async () => (await fetch(`${opsUrl}/metrics`)).text();
    for (const { name } of rules)
      expect(await metrics()).to.contain(`weir_rule_errors_total{rule="${name}"} 0`);
    expect(await errorsOf(http, 'careless_rule')).to.deep.equal({ count: 0, last: null, at: null });
    for (let n = 1; n <= 3; n += 1) await people.post(flag('u'));
    await people.counted('u', { scam_message_flags: 3 });
    expect(await people.canMessage('u')).to.equal(false);
    expect((await http.get('/dead-letters')).body).to.deep.include({ dead_letters: [] });
    const { count, last, at } = await errorsOf(http, 'careless_rule');
    expect([count, last]).to.deep.equal([
      3,
      "matches: TypeError: Cannot read properties of undefined (reading '0')",
    ]);
    expect(at).to.match(ISO);
    expect(await errorsOf(http, 'scam_message_rule')).to.deep.equal({ count: 0, last: null, at: null });
    expect(await metrics()).to.contain('weir_rule_errors_total{rule="careless_rule"} 3');
  });

  it('runs no longer once it is off', async () => {
    await weir.worker({}, rules);
    await weir.ready();
    await people.post(flag('u'));
    await people.counted('u', { scam_message_flags: 1 });
    expect((await http.put('/rules/careless_rule/mode', { mode: 'off' })).status).to.equal(200);
    await people.post(flag('u'));
    await people.counted('u', { scam_message_flags: 2 });
    expect((await errorsOf(http, 'careless_rule')).count).to.equal(1);
  });

  it('keeps no override from ending by itself', async () => {
    await weir.worker({}, rules);
    await weir.ready();
    await people.restrictByFlags('u');
    const expires_at = new Date(Date.now() + 400).toISOString();
    const override = { allow: true, reason: 'r', actor: 'a', expires_at };
    expect((await http.put('/users/u/overrides/message', override)).status).to.equal(200);
    await people.post(flag('u'));
    await people.post(flag('u'));
    await until(5000, 'the override has ended, and the rules have decided', async () =>
      (await people.restrictedBy('u')).includes('scam_message_rule'),
    );
    expect(await weir.topic.user('u')).to.deep.include({ overrides: [] });
    expect((await http.get('/dead-letters')).body).to.deep.include({ dead_letters: [] });
  });

  it('is a line in the log of the worker, and so is a dead letter, with the reason', async () => {
    const lines: Record<string, unknown>[] = [];
    const worker = await WorkerProcess.start(
      { ...weir.environment, LOG_LEVEL: 'error' },
      'test/support/dangerous-worker.js',
      (line) => lines.push(JSON.parse(line)),
    );
    weir.onClose(() => worker.end('SIGKILL'));
    expect(DANGEROUS_RULES.map(({ name }) => name)).to.include('dangerous_rule');
    for (let n = 1; n <= 20; n += 1) await people.post(card('u', THROWING_CARD, '1'));
    await weir.topic.append(
      Array.from({ length: 20 }, (_, n) => event('purchase_made', 'u', { amount: 'ten' }, `bad-${n}`)),
    );
    await weir.topic.drained();
    const partition = `events.${weir.topic.indexOf('u')}`;
    const said = (msg: string) => lines.filter((line) => line['msg'] === msg);
    await until(5000, 'the lines are there', () =>
      ['a rule failed; the others went on', 'dead letter'].every((msg) => said(msg).length >= 5),
    );
    expect(said('a rule failed; the others went on')).to.have.length(5);
    expect(said('a rule failed; the others went on')[0]).to.include({
      ...{ rule: 'dangerous_rule', error: 'matches: TypeError: the rule has a bug', partition },
    });
    expect(said('dead letter')).to.have.length(5);
    expect(said('dead letter')[0]).to.include({
      ...{ partition, kind: 'message', error: 'Error: amount is not a number greater than 0' },
      ...{ id: 'bad-0', type: 'purchase_made', attempts: 1 },
    });
  });
});
