import { expect } from 'chai';
import type { Defect } from '../../../api/refusal.js';
import type { BudgetsPut } from '../../../shared/messages/admissions.js';
import { DEFAULT_BUDGETS, LEVELS_MAX } from '../../../shared/state/budget-config.js';
import { type Answer, ApiUnderTest } from './api-under-test.js';

const who = { actor: 'ann', reason: 'more for ranking' };
const root = { name: 'root', limit: 1000 };
const body = { ...who, levels: [root] };

describe('api: PUT /budgets, the body', () => {
  let api: ApiUnderTest;

  beforeEach(async () => {
    api = await (await ApiUnderTest.start({ REPLY_DEADLINE_MS: '50' })).connected();
  });
  afterEach(() => api.close());

  const put = (given: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> =>
    api.request('PUT', '/budgets', given, headers);

  /** The only message; it is checked to be one of budgets. */
  async function put1(given: unknown, tenant = 'acme'): Promise<BudgetsPut> {
    const answer = await put(given, { 'x-tenant-id': tenant });
    expect([answer.status, answer.body]).to.deep.equal([202, { status: 'accepted' }]);
    const messages = await api.messages();
    expect(messages).to.have.length(1);
    expect(messages[0]).to.include({ type: 'budgets_put', tenant, subject: tenant });
    return messages[0]!.data as BudgetsPut;
  }

  async function expectDefects(given: unknown, defects: readonly Defect[]): Promise<void> {
    const answer = await put(given);
    expect([answer.status, answer.body['code']]).to.deep.equal([422, 'invalid_request']);
    expect(answer.body['errors']).to.deep.equal(defects);
    expect(await api.messages()).to.deep.equal([]);
  }

  it('gives what is left out the defaults, and answers 202 while no worker has applied it', async () => {
    const data = await put1(body);
    const [level] = DEFAULT_BUDGETS.levels;
    expect(data).to.deep.equal({
      config: { ...DEFAULT_BUDGETS, levels: [{ ...level, name: 'root', limit: 1000 }] },
      ...who,
    });
  });

  it('takes everything that can be said', async () => {
    const given = {
      ...{ ...who, version: 4, window_seconds: 2_678_400, max_request_share: 1, degraded_debit: 0.000001 },
      levels: [
        { name: 'leaf', parent: 'mid', limit: 0 },
        {
          ...{ name: 'mid', parent: 'root', limit: 1_000_000_000_000 },
          ...{ soft_threshold: 0.3, hard_threshold: 1, p0_threshold: 10 },
          ...{ p2_soft_threshold: 0, p2_hard_threshold: 0.29 },
        },
        { name: 'root', parent: null, limit: 1 },
      ],
    };
    const { config, replaces } = await put1({ ...given, levels: given.levels });
    expect(replaces).to.equal(4);
    expect(config).to.deep.include({ windowMs: 2_678_400_000, maxRequestShare: 1_000_000, degradedDebit: 1 });
    expect(config.levels.map(({ name }) => name)).to.deep.equal(['root', 'mid', 'leaf']);
    expect(config.levels[1]).to.deep.equal({
      ...{ name: 'mid', parent: 'root', limit: 1_000_000_000_000 },
      ...{ soft: 300_000, hard: 1_000_000, p2Soft: 0, p2Hard: 290_000, p0: 10_000_000 },
    });
  });

  it('takes what GET /budgets answers, with who and why', async () => {
    const { body: present } = await api.request('GET', '/budgets', undefined, { 'x-tenant-id': 'acme' });
    const data = await put1({ ...present, ...who });
    expect(data).to.deep.equal({ config: DEFAULT_BUDGETS, replaces: 0, ...who });
  });

  it('takes a level called __proto__', async () => {
    const levels = [
      { name: '__proto__', limit: 1 },
      { name: 'constructor', parent: '__proto__', limit: 1 },
    ];
    const { config } = await put1({ ...who, levels });
    expect(config.levels.map(({ name, parent }) => [name, parent])).to.deep.equal([
      ['__proto__', null],
      ['constructor', '__proto__'],
    ]);
  });

  it('lists every defect at once: of who and why, of numbers, of the tree', async () => {
    await expectDefects(
      {
        ...{
          actor: '',
          window_seconds: 2_678_401,
          max_request_share: 0,
          degraded_debit: 0.1234567,
          extra: 1,
        },
        levels: [
          { name: 'root', limit: -1 },
          { name: 'root', parent: null, limit: 1.5 },
          { name: 'a b', parent: 'nobody', limit: 1, soft_threshold: 85 },
          { name: 'c', parent: 'c', limit: 1, soft_threshold: 0.99, p2_hard_threshold: 1 },
        ],
      },
      [
        { path: 'actor', message: 'must not be empty' },
        { path: 'reason', message: 'is required' },
        { path: 'extra', message: 'is not known' },
        { path: 'window_seconds', message: 'must be a whole number from 1 to 2678400, or null' },
        { path: 'max_request_share', message: 'must be greater than 0' },
        { path: 'degraded_debit', message: 'must be a number from 0 to 1 with at most 6 decimals' },
        { path: 'levels.0.limit', message: 'must be a whole number from 0 to 1000000000000' },
        { path: 'levels.1.limit', message: 'must be a whole number from 0 to 1000000000000' },
        { path: 'levels.2.name', message: 'must be 1 to 64 letters, digits or _ . : -' },
        { path: 'levels.2.soft_threshold', message: 'must be a number from 0 to 10 with at most 6 decimals' },
        { path: 'levels.3.soft_threshold', message: 'must not be greater than hard_threshold' },
        { path: 'levels.3.p2_hard_threshold', message: 'must not be greater than hard_threshold' },
        { path: 'levels.1.name', message: 'must not be that of another level' },
        { path: 'levels', message: 'must have one root (a level whose parent is null), not 2' },
        { path: 'levels.2.parent', message: 'must be the name of a level' },
        { path: 'levels.3.parent', message: 'must lead to the root, not round in a circle' },
      ],
    );
  });

  it('lists at most 20', async () => {
    const levels = Array.from({ length: 30 }, (_, i) => ({ name: `${i}`, parent: 'nobody', limit: -1 }));
    const { body: problem } = await put({ ...who, levels });
    expect(problem['errors']).to.have.length(20);
  });

  it('does not say what the tree lacks before the types are right', async () => {
    const levels = [{ name: 1, limit: '5', p0_threshold: true, x: 0 }, 'root', { parent: [], limit: null }];
    await expectDefects({ ...who, levels, version: -1, window_seconds: '30' }, [
      { path: 'window_seconds', message: 'must be a number' },
      { path: 'levels.0.name', message: 'must be a string' },
      { path: 'levels.0.limit', message: 'must be a number' },
      { path: 'levels.0.p0_threshold', message: 'must be a number' },
      { path: 'levels.0.x', message: 'is not known' },
      { path: 'levels.1', message: 'must be an object' },
      { path: 'levels.2.name', message: 'is required' },
      { path: 'levels.2.parent', message: 'must be a string' },
      { path: 'levels.2.limit', message: 'must be a number' },
      { path: 'version', message: 'must be a whole number, at least 0' },
    ]);
  });

  const defects: readonly (readonly [what: string, body: unknown, path: string])[] = [
    ['that is no object', [], ''],
    ['without levels', who, 'levels'],
    ['with no level', { ...who, levels: [] }, 'levels'],
    ['with levels that are no list', { ...who, levels: { root } }, 'levels'],
    ['with a field called __proto__', `{"__proto__":1,${JSON.stringify(body).slice(1)}`, '__proto__'],
    ['with U+0000 in the reason', { ...body, reason: 'a\0' }, 'reason'],
    ['with a version that is no number', { ...body, version: '3' }, 'version'],
    ['with a version that is not whole', { ...body, version: 1.5 }, 'version'],
    ['with a number that is none in JSON', JSON.stringify(body).replace('1000', '1e999'), 'levels.0.limit'],
    [
      `with more than ${LEVELS_MAX} levels`,
      {
        ...who,
        levels: Array.from({ length: LEVELS_MAX + 1 }, (_, i) => ({
          ...{ name: `l${i}`, limit: 1, parent: i === 0 ? null : 'l0' },
        })),
      },
      'levels',
    ],
  ];
  for (const [what, given, path] of defects) {
    it(`answers 422 to a body ${what}`, async () => {
      const answer = await put(given);
      expect([answer.status, answer.body['code']]).to.deep.equal([422, 'invalid_request']);
      expect((answer.body['errors'] as readonly Defect[]).map((defect) => defect.path)).to.deep.equal([path]);
      expect(await api.messages()).to.deep.equal([]);
    });
  }

  it('answers 403 to a body for another tenant', async () => {
    const answer = await put({ ...body, tenant: 'globex' }, { 'x-tenant-id': 'acme' });
    expect([answer.status, answer.body['code']]).to.deep.equal([403, 'tenant_mismatch']);
    expect(await api.messages()).to.deep.equal([]);
  });

  it('answers 422 for a tenant that is none, 400 to what is no JSON, 415 to what does not say it is', async () => {
    expect((await put(body, { 'x-tenant-id': 'a b' })).status).to.equal(422);
    expect((await put('{')).body['code']).to.equal('malformed_json');
    expect((await put('{}', { 'content-type': 'text/plain' })).status).to.equal(415);
    expect(await api.messages()).to.deep.equal([]);
  });
});
