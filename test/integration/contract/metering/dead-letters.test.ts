import { expect } from 'chai';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { Caller } from './caller.js';
import { QUICK } from './quick.js';
import { COMPLETION, TENANT, usage } from './usage.js';

interface Letter {
  readonly id: string;
  readonly topic: string;
  readonly message: { readonly id: string };
  readonly error: string;
  readonly attempts: number;
}

describe('contract: dead letters of usage', () => {
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, settings: QUICK });
    caller = new Caller(weir.http);
  });
  after(() => weir.close());

  async function letters(topic: string): Promise<readonly Letter[]> {
    const { status, body } = await weir.http.get<{ dead_letters: Letter[] }>(`/dead-letters?topic=${topic}`);
    expect(status).to.equal(200);
    return body.dead_letters;
  }

  /** A message as the API writes it, but for what `data` says. */
  async function appendRaw(customer: string, id: string, data: unknown): Promise<void> {
    const message = { type: 'usage', tenant: TENANT, subject: customer, id, timestamp: Date.now(), data };
    await weir.usage.append(TENANT, customer, message);
  }

  async function deadLetter(id: string): Promise<Letter> {
    let letter: Letter | undefined;
    await until(10_000, `${id} is a dead letter`, async () => {
      letter = (await letters('usage')).find(({ message }) => message.id === id);
      return letter !== undefined;
    });
    return letter!;
  }

  it('one that cannot be counted is listed with its error, and has a receipt; its neighbours are counted', async () => {
    await caller.post(usage('u', { metadata: { tokens: 5 } }));
    await appendRaw('u', 'most', [COMPLETION, 1_000_000_000, 0, 0, null, null]);
    await appendRaw('u', 'too-much', [COMPLETION, 1_000_000_001, 0, 0, null, null]);
    await caller.post(usage('u', { metadata: { tokens: 7 } }));
    const letter = await deadLetter('too-much');
    expect(letter.topic).to.equal('usage');
    expect(letter.error).to.match(/tokens/);
    const { day } = await caller.counted('u', 3);
    expect(day.tokens).to.equal(1_000_000_012);
    const receipt = await caller.receiptWhen('too-much');
    expect(receipt).to.include({ status: 'dead', windowRevision: 0, duplicates: 0, archived: true });
    expect(await caller.receiptWhen('most')).to.include({ status: 'accepted' });
    expect(await letters('events')).to.deep.equal([]);
    // Nothing has changed: it fails again, and says so.
    expect((await weir.http.post(`/dead-letters/${letter.id}/replay`)).status).to.equal(202);
    await until(10_000, 'it failed again', async () => (await deadLetter('too-much')).attempts === 2);
    const again = await deadLetter('too-much');
    expect((await weir.http.delete(`/dead-letters/${again.id}`)).status).to.equal(204);
    expect((await letters('usage')).map(({ message }) => message.id)).not.to.include('too-much');
  });

  it('what is no usage event at all stops nobody', async () => {
    const wrong: readonly (readonly [id: string, data: unknown])[] = [
      ['text', 'nonsense'],
      ['null', null],
      ['empty', []],
      ['object', { tokens: 1 }],
      ['negative', [COMPLETION, -1, 0, 0, null, null]],
      ['fraction', [COMPLETION, 0.5, 0, 0, null, null]],
      ['strings', [COMPLETION, '1', '2', '3', null, null]],
    ];
    for (const [id, data] of wrong) await appendRaw('v', id, data);
    await weir.usage.append(TENANT, 'v', { type: 'unheard-of', tenant: TENANT, subject: 'v', id: 'type' });
    await weir.usage.append(TENANT, 'v', 'not even a message');
    await caller.post(usage('v', { eventId: 'good' }));
    await caller.counted('v', 1);
    for (const [id] of wrong) await deadLetter(id);
    await deadLetter('type');
    expect(await caller.receiptWhen('good')).to.include({ status: 'accepted' });
    await weir.usage.archived();
  });
});
