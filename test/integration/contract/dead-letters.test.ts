import { expect } from 'chai';
import { userDocument } from '../../../shared/keys.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { card, ISO, People, purchase } from './people.js';

interface Letter {
  readonly id: string;
  readonly topic: string;
  readonly message: { readonly id: string; readonly subject: string; readonly type: string };
  readonly error: string;
  readonly attempts: number;
  readonly at: string;
}

describe('contract: dead letters', () => {
  let weir: WeirFixture;
  let people: People;
  beforeEach(async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE });
    people = new People(weir.http);
  });
  afterEach(() => weir.close());

  async function letters(query = ''): Promise<Letter[]> {
    const { status, body } = await weir.http.get<{ dead_letters: Letter[] }>(`/dead-letters${query}`);
    expect(status).to.equal(200);
    return body.dead_letters;
  }

  const documentOf = (user: string) => weir.topic.keysOf(user).doc(userDocument('default', user));

  /** Posts an event of a user whose document has been broken: nothing can be folded upon it. */
  async function kill(user: string, event_id: string): Promise<void> {
    await weir.redis.set(documentOf(user), 'not JSON');
    const before = (await letters()).length;
    await people.post(card(user, 'c', '1', { event_id }));
    await until(10_000, 'the letter is there', async () => (await letters()).length === before + 1);
  }

  async function mend(): Promise<void> {
    await weir.redis.del(documentOf('u'));
  }

  it('lists nothing where nothing failed', async () => {
    expect((await weir.http.get('/dead-letters')).body).to.deep.include({ dead_letters: [] });
    expect(await letters('?topic=events')).to.deep.equal([]);
  });

  it('lists a message whose fold threw, with its error; its neighbours are not delayed', async () => {
    const started = Date.now();
    // The API refuses such an event: past it, as a producer of another version may write.
    const amounts = [1, 'ten', 2];
    await weir.topic.append(
      amounts.map((amount) => event('purchase_made', 'u', { amount }, amount === 'ten' ? 'bad' : undefined)),
    );
    await people.post(purchase('v', 4));
    await people.counted('u', { total_spend: 3 });
    await people.counted('v', { total_spend: 4 });
    const [letter, ...more] = await letters('?topic=events');
    expect(more).to.deep.equal([]);
    const { id, at, message, ...rest } = letter!;
    expect(rest).to.deep.equal({
      topic: 'events',
      error: 'Error: amount is not a number greater than 0',
      attempts: 1,
    });
    expect(id).to.be.a('string').that.is.not.empty;
    expect(at).to.match(ISO);
    expect(Date.parse(at)).to.be.within(started - 1, Date.now());
    expect(message).to.include({ id: 'bad', subject: 'u', type: 'purchase_made' });
    expect(await letters()).to.deep.equal([letter]);
  });

  it('keeps to one topic when asked, and refuses one that it does not have', async () => {
    await kill('u', 'bad');
    expect(await letters('?topic=events')).to.have.length(1);
    const { status, body } = await weir.http.get('/dead-letters?topic=nothing');
    expect(status).to.equal(422);
    expect(body).to.include({ code: 'invalid_request' });
    expect((await weir.http.get('/dead-letters?topic=events&topic=events')).status).to.equal(422);
  });

  it('replays: while the fault is there it fails again and counts its attempts; mended, it counts once', async () => {
    await kill('u', 'bad');
    const [first] = await letters();
    const again = await weir.http.post(`/dead-letters/${first!.id}/replay`);
    expect(again.status).to.equal(202);
    await until(10_000, 'it failed again', async () =>
      (await letters()).some(({ attempts }) => attempts === 2),
    );
    const [second, ...more] = await letters();
    expect(more).to.deep.equal([]);
    expect(second!.message.id).to.equal('bad');
    await mend();
    expect((await weir.http.post(`/dead-letters/${second!.id}/replay`)).status).to.equal(202);
    await people.counted('u', { total_credit_cards: 1, unique_zip_codes: 1 });
    expect(await letters()).to.deep.equal([]);
    expect((await weir.http.post(`/dead-letters/${second!.id}/replay`)).status).to.equal(404);
    // It is folded now: the same event posted again is a duplicate.
    await people.post(card('u', 'another', '2', { event_id: 'bad' }));
    await weir.topic.drained();
    await people.counted('u', { total_credit_cards: 1, unique_zip_codes: 1 });
  });

  it('a replay takes effect once, however many ask for it at once', async () => {
    await kill('u', 'bad');
    await mend();
    const [letter] = await letters();
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => weir.http.post(`/dead-letters/${letter!.id}/replay`)),
    );
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([202, 404, 404, 404, 404]);
    await people.counted('u', { total_credit_cards: 1, unique_zip_codes: 1 });
  });

  it('an event that failed may be posted again under its id once the fault is mended', async () => {
    await kill('u', 'bad');
    await mend();
    await people.post(card('u', 'c', '1', { event_id: 'bad' }));
    await people.counted('u', { total_credit_cards: 1, unique_zip_codes: 1 });
    expect(await letters()).to.have.length(1);
  });

  it('deletes one with 204 and no body; what is left is left', async () => {
    await kill('u', 'first');
    await kill('v', 'second');
    const [gone, left] = (await letters()).sort((a, b) => a.message.id.localeCompare(b.message.id));
    const { status, text } = await weir.http.delete(`/dead-letters/${gone!.id}`);
    expect([status, text]).to.deep.equal([204, '']);
    expect(await letters()).to.deep.equal([left]);
    for (const answer of [
      await weir.http.delete(`/dead-letters/${gone!.id}`),
      await weir.http.post(`/dead-letters/${gone!.id}/replay`),
    ]) {
      expect(answer.status).to.equal(404);
    }
  });

  it('answers 404 to an id that is none, 405 to a wrong method, and changes nothing', async () => {
    await kill('u', 'bad');
    const [letter] = await letters();
    const before = await weir.settledContents();
    for (const id of ['events.0.1-1', 'events.99.1-1', 'usage.0.1-1', '1-1', 'x', '%F0%9F%92%A3', '-', '*']) {
      for (const answer of [
        await weir.http.delete<{ code: string }>(`/dead-letters/${id}`),
        await weir.http.post<{ code: string }>(`/dead-letters/${id}/replay`),
      ]) {
        expect([id, answer.status]).to.deep.equal([id, 404]);
        expect(answer.headers.get('content-type')).to.equal('application/problem+json');
      }
    }
    const wrong: readonly (readonly [method: string, path: string, allow: string])[] = [
      ['POST', '/dead-letters', 'GET, HEAD, OPTIONS'],
      ['GET', `/dead-letters/${letter!.id}`, 'DELETE, OPTIONS'],
      ['GET', `/dead-letters/${letter!.id}/replay`, 'POST, OPTIONS'],
      ['DELETE', `/dead-letters/${letter!.id}/replay`, 'POST, OPTIONS'],
    ];
    for (const [method, path, allow] of wrong) {
      const answer = await weir.http.send<{ code: string }>(method, path);
      expect([answer.status, answer.body.code]).to.deep.equal([405, 'method_not_allowed']);
      expect(answer.headers.get('allow')).to.equal(allow);
    }
    expect(await weir.contents()).to.deep.equal(before);
  });
});
