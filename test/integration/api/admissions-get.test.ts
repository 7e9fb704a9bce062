import { expect } from 'chai';
import { undecidedId } from '../../../api/admissions/admission-key.js';
import { admissionDocument } from '../../../shared/keys.js';
import { admissionKey } from '../../../shared/messages/admissions.js';
import { encodeAdmissions } from '../../../shared/state/budget-codec.js';
import type { Admission } from '../../../shared/state/budget-state.js';
import { admission } from './admissions-under-test.js';
import { type Answer, ApiUnderTest } from './api-under-test.js';

const ID = '0123456789abcdefa1234567';
const ALIAS = '0123456789abcdefo7654321';

describe('api: GET /admissions/:id', () => {
  let api: ApiUnderTest;

  before(async () => {
    api = await (await ApiUnderTest.start()).connected();
  });
  after(() => api.close());

  const keyOf = (tenant: string): string =>
    api.slots.ofTenant(tenant).keys.doc(admissionDocument(tenant, admissionKey(ID)));
  const write = (...admissions: Admission[]): Promise<unknown> =>
    api.redis.set(keyOf('default'), encodeAdmissions({ admissions }));

  const expectProblem = (answer: Answer, status: number, code: string): void => {
    expect([answer.status, answer.body['code']]).to.deep.equal([status, code]);
  };

  it('shows an admission under each of its ids', async () => {
    await write(admission(ID, { ids: [ID, ALIAS], failedOpen: 50, decision: 'ALLOW_DEGRADED', attempts: 2 }));
    for (const id of [ID, ALIAS]) {
      const answer = await api.get(`/admissions/${id}`);
      expect([answer.status, answer.body]).to.deep.equal([
        200,
        {
          ...{ admission_id: id, status: 'held', decision: 'ALLOW_DEGRADED' },
          ...{ pipeline: 'ranking', priority: 'P1', levels: ['global', 'ranking'], attempts: 2 },
          ...{ estimated_tokens: 100, granted_tokens: 100, charged_tokens: null, overrun_tokens: 0 },
          ...{ failed_open_tokens: 50, ended_at: null },
          window_started_at: '2023-11-14T22:13:30.000Z',
          created_at: '2023-11-14T22:13:32.345Z',
          expires_at: '2023-11-14T22:14:02.345Z',
        },
      ]);
    }
  });

  it('shows one that has expired until it is forgotten', async () => {
    const expired = {
      status: 'expired',
      expiry: 'charge',
      charged: 100,
      endedAt: 1_700_000_042_345,
    } as const;
    await write(admission(ID, { ...expired, keepUntil: Date.now() + 60_000 }));
    expect((await api.get(`/admissions/${ID}`)).body).to.include({ status: 'expired', expiry: 'charge' });
    await write(admission(ID, { ...expired, keepUntil: Date.now() - 60_000 }));
    expectProblem(await api.get(`/admissions/${ID}`), 404, 'admission_not_found');
  });

  it('answers 404 to what never was an admission, and to another tenant', async () => {
    await write(admission(ID, { status: 'refused', decision: 'REJECT', expiresAt: null }));
    expectProblem(await api.get(`/admissions/${ID}`), 404, 'admission_not_found');
    expectProblem(await api.get(`/admissions/${ID.replace('a1', 'a2')}`), 404, 'admission_not_found');
    expectProblem(await api.get('/admissions/x'), 404, 'admission_not_found');
    await write(admission(ID));
    const other = await api.request('GET', `/admissions/${ID}`, undefined, { 'x-tenant-id': 'acme' });
    expectProblem(other, 404, 'admission_not_found');
  });

  it('answers 503 while one that was given away may not be reported yet', async () => {
    const answer = await api.get(`/admissions/${undecidedId('fedcba9876543210', Date.now())}`);
    expectProblem(answer, 503, 'undecided');
    expect(answer.body).to.include({ retryable: true, reason: 'unreported' });
  });

  it('answers 503 for a document that a newer version wrote', async () => {
    await api.redis.set(keyOf('default'), '{"v":99}');
    expectProblem(await api.get(`/admissions/${ID}`), 503, 'store_unavailable');
  });
});
