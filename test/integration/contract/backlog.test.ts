import { expect } from 'chai';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { WorkerProcess } from '../../support/worker-process.js';
import { People, purchase } from './people.js';

interface Refused {
  readonly code: string;
  readonly status: number;
  readonly rejected: readonly { readonly index: number; readonly event_id: string; readonly code: string }[];
}

interface BatchAnswer {
  readonly accepted: number;
  readonly rejected: Refused['rejected'];
}

describe('contract: backlog full', () => {
  let weir: WeirFixture;
  let people: People;
  afterEach(() => weir.close());

  async function start(backlogMax: number, workers = 0): Promise<void> {
    const settings = { ...NO_TRIPWIRE, BACKLOG_MAX: String(backlogMax) };
    weir = await WeirFixture.start({ settings, workers });
    people = new People(weir.http);
  }

  /** Posts until the user's partition is full. @returns how many were accepted */
  async function fill(user: string): Promise<number> {
    for (let accepted = 0; ; accepted += 1) {
      const answer = await weir.http.post<Refused>('/event', purchase(user, 1));
      if (answer.status === 202) continue;
      expect([answer.status, answer.body.code]).to.deep.equal([429, 'backlog_full']);
      expect(answer.headers.get('content-type')).to.equal('application/problem+json');
      expect(answer.headers.get('retry-after')).to.match(/^[1-9]\d*$/);
      return accepted;
    }
  }

  it('refuses with 429 and whole seconds of Retry-After, and takes more once a worker has drained it', async () => {
    await start(25);
    expect(await fill('u')).to.equal(25);
    expect((await weir.http.get('/metrics')).text).to.include(
      'dropped_requests_total{reason="backlog_full"} 1\n',
    );
    expect(await people.canPurchase('u')).to.equal(true);
    await weir.worker();
    await people.counted('u', { total_spend: 25 });
    await people.post(purchase('u', 1));
    await people.counted('u', { total_spend: 26 });
  });

  it('takes more again after the stream was deleted, as soon as a worker finds nothing that waits', async () => {
    await start(20);
    expect(await fill('u')).to.equal(20);
    await weir.redis.del(weir.topic.keysOf('u').stream);
    expect((await weir.http.post('/event', purchase('u', 1))).status).to.equal(429);
    await weir.worker();
    await until(5000, 'weir takes more', async () => {
      return (await weir.http.post('/event', purchase('u', 1, { event_id: 'more' }))).status === 202;
    });
    await people.counted('u', { total_spend: 1 });
  });

  it('bounds each partition for itself', async () => {
    await start(5);
    await fill('u');
    const elsewhere = ['a', 'b', 'c', 'd'].filter(
      (user) => weir.topic.indexOf(user) !== weir.topic.indexOf('u'),
    );
    expect(elsewhere).not.to.be.empty;
    for (const user of elsewhere) await people.post(purchase(user, 1));
  });

  it('a batch over a full partition and others is 202 and lists what is left out; over full ones only it is 429', async () => {
    await start(5);
    await fill('u');
    const [same = ''] = weir.topic.neighbours('u', 1);
    const other = ['a', 'b', 'c', 'd'].find((user) => weir.topic.indexOf(user) !== weir.topic.indexOf('u'))!;
    const batch = [
      purchase('u', 1, { event_id: 'e0' }),
      purchase(other, 1, { event_id: 'e1' }),
      purchase(same, 1, { event_id: 'e2' }),
    ];
    const spanning = await weir.http.post<BatchAnswer>('/events', batch);
    expect([spanning.status, spanning.body.accepted]).to.deep.equal([202, 1]);
    expect(spanning.body.rejected.map(({ index, event_id, code }) => [index, event_id, code])).to.deep.equal([
      [0, 'e0', 'backlog_full'],
      [2, 'e2', 'backlog_full'],
    ]);
    const full = await weir.http.post<Refused>('/events', [batch[0], batch[2]]);
    expect([full.status, full.body.code]).to.deep.equal([429, 'backlog_full']);
    expect(full.headers.get('retry-after')).to.match(/^[1-9]\d*$/);
    await weir.worker();
    await people.counted(other, { total_spend: 1 });
    await people.counted('u', { total_spend: 5 });
    await people.postAll(batch);
    // e1 is a duplicate by now.
    await people.counted('u', { total_spend: 6 });
    await people.counted(same, { total_spend: 1 });
    await people.counted(other, { total_spend: 1 });
  });

  it('a control gets through a full backlog, and is answered when the worker has come to it', async () => {
    await start(5);
    await fill('u');
    const patient = await weir.api({ REPLY_DEADLINE_MS: '10000' });
    const answer = patient.put('/rules/chargeback_ratio_rule/mode', { mode: 'off' });
    await until(5000, 'the control is in the stream', async () => (await weir.topic.backlog()) === 5 + 8);
    await weir.worker();
    expect((await answer).status).to.equal(200);
    await people.counted('u', { total_spend: 5 });
  });

  it('fills up behind a worker that is paused, and goes on when it is resumed, with nothing lost', async () => {
    await start(40);
    const worker = await WorkerProcess.start(weir.environment);
    weir.onClose(() => worker.end('SIGKILL'));
    await weir.ready();
    await people.post(purchase('u', 1));
    await people.counted('u', { total_spend: 1 });
    worker.signal('SIGSTOP');
    const accepted = await fill('u');
    expect(accepted).to.equal(40);
    worker.signal('SIGCONT');
    await until(10_000, 'weir takes more', async () => {
      return (await weir.http.post('/event', purchase('u', 1, { event_id: 'more' }))).status === 202;
    });
    await people.counted('u', { total_spend: 1 + accepted + 1 });
  });
});
