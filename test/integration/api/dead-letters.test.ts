import { expect } from 'chai';
import { ApiUnderTest } from './api-under-test.js';

interface Letter {
  readonly id: string;
  readonly message: unknown;
}

describe('api: dead letters', () => {
  let api: ApiUnderTest;

  beforeEach(async () => {
    api = await (await ApiUnderTest.start()).connected();
  });
  afterEach(() => api.close());

  const message = { type: 'scam_message_flagged', subject: 'u', id: 'e1', data: {}, reply: 'gone/1' };

  /** Puts a letter where a worker would. @returns its id over HTTP */
  async function bury(index: number, fields: Record<string, string | number> = {}): Promise<string> {
    const { keys, name } = api.slots.all[index]!;
    const all = {
      m: JSON.stringify(message),
      error: 'Error: no',
      attempts: 1,
      at: 1700000000000,
      kind: 'message',
    };
    const id = await api.redis.xadd(keys.dead, '*', ...Object.entries({ ...all, ...fields }).flat());
    return `${name}.${id}`;
  }

  async function list(query = ''): Promise<{ letters: Letter[]; cursor: string | null }> {
    const { status, body } = await api.get(`/dead-letters${query}`);
    expect(status).to.equal(200);
    return { letters: body['dead_letters'] as Letter[], cursor: body['next_cursor'] as string | null };
  }

  it('lists none where there are none', async () => {
    expect(await list()).to.deep.equal({ letters: [], cursor: null });
  });

  it('shows the message, the error, the attempts and when', async () => {
    const id = await bury(3);
    const raw = await bury(3, { m: '["v","9"]', kind: 'entry', error: 'broken' });
    expect((await list('?topic=events')).letters).to.deep.equal([
      { id, topic: 'events', message, error: 'Error: no', attempts: 1, at: '2023-11-14T22:13:20.000Z' },
      {
        id: raw,
        topic: 'events',
        message: '["v","9"]',
        error: 'broken',
        attempts: 1,
        at: '2023-11-14T22:13:20.000Z',
      },
    ]);
  });

  it('pages through all partitions without gaps or repeats', async () => {
    const ids: string[] = [];
    for (const index of [0, 0, 0, 1, 3, 3]) ids.push(await bury(index));
    const seen: string[] = [];
    let cursor: string | null = null;
    let pages = 0;
    do {
      const page = await list(`?limit=2${cursor === null ? '' : `&cursor=${cursor}`}`);
      seen.push(...page.letters.map(({ id }) => id));
      cursor = page.cursor;
      pages++;
    } while (cursor !== null);
    expect(seen).to.deep.equal(ids);
    expect(pages).to.equal(3);
  });

  it('replays one: its message is appended once with its id, and the letter is gone', async () => {
    const id = await bury(2, { attempts: 3 });
    const answers = await Promise.all([1, 2].map(() => api.post(`/dead-letters/${id}/replay`)));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([202, 404]);
    const { reply: _reply, ...rest } = message;
    expect(await api.messages()).to.deep.equal([{ ...rest, attempts: 3 }]);
    expect(await api.redis.xlen(api.slots.all[2]!.keys.stream)).to.equal(1);
    expect(await api.appended()).to.equal(1);
    expect((await list()).letters).to.deep.equal([]);
  });

  it('refuses to replay an entry that holds no message, and keeps it', async () => {
    const id = await bury(0, { m: '[]', kind: 'entry' });
    const answer = await api.post(`/dead-letters/${id}/replay`);
    expect([answer.status, answer.body['code']]).to.deep.equal([409, 'not_replayable']);
    expect((await list()).letters).to.have.length(1);
  });

  it('deletes one, once', async () => {
    const id = await bury(1);
    expect((await api.request('DELETE', `/dead-letters/${id}`)).status).to.equal(204);
    expect((await api.request('DELETE', `/dead-letters/${id}`)).status).to.equal(404);
    expect(await api.messages()).to.deep.equal([]);
  });

  it('answers 404 to ids of nothing', async () => {
    for (const id of ['events.0.1-1', 'events.9.1-1', 'nothing', 'events.0.', '..', '%2e%2e']) {
      expect((await api.post(`/dead-letters/${id}/replay`)).status, id).to.equal(404);
    }
  });
});
