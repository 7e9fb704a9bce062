import { expect } from 'chai';
import { foldBudgetMessage, pastWindowsOf } from '../../../rules/budgets.js';
import type { Message } from '../../../shared/messages/message.js';
import { admit, freshId, granted, NOON, partitionWith, settle } from './budget-asking.js';
import { admissionId, budgetMessage, budgets, put, request } from './budget-messages.js';
import { type BudgetPartition, NAMES, SETTINGS } from './budget-partition.js';

const ROOM = 1000;

/** Folds a message where sums have room for 1000 tokens more in the open window, in a draft of the step. */
function foldNearlyFull(to: BudgetPartition, at: number, message: Message): number | object {
  const { admission } = message.data as { readonly admission: string };
  const state = structuredClone(to.state()!);
  const global = state.window!.levels.get('global')!;
  global.settled = Number.MAX_SAFE_INTEGER - ROOM - global.held;
  const step = {};
  const draft = { ...state, owner: step };
  const before = structuredClone(draft);
  const states = { state: draft, admissions: to.admissions(admission), past: () => null };
  try {
    const context = { tenant: 'acme', at, settings: SETTINGS, names: NAMES, step };
    const { effects } = foldBudgetMessage(message, states, context);
    const reply = effects.find((effect) => effect.kind === 'reply')?.body;
    if (reply !== undefined && 'kind' in reply && reply.kind === 'no_room') {
      expect(effects).to.have.lengthOf(1);
      expect(draft).to.deep.equal(before);
      return reply;
    }
  } catch (error) {
    expect(draft).to.deep.equal(before);
    throw error;
  }
  const { settled, held } = draft.window!.levels.get('global')!;
  return settled + held - (Number.MAX_SAFE_INTEGER - ROOM);
}

describe('sums of tokens', () => {
  const inexact = 'what is used at global would no longer be exact';

  it('stay exact: an overrun that they could not hold is refused, and nothing is changed', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    const settled = (actual: number) => budgetMessage('settle', { admission: ids[0]!, actual });
    expect(foldNearlyFull(to, NOON, settled(1101))).to.deep.equal({ kind: 'no_room', level: 'global' });
    expect(foldNearlyFull(to, NOON, settled(1100))).to.equal(ROOM);
  });

  it('stay exact: so does a late settle', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON, { holdMs: 1 });
    to.idle(NOON + 1);
    const settled = (actual: number) => budgetMessage('settle', { admission: ids[0]!, actual });
    const refused = foldNearlyFull(to, NOON + 1, settled(1001));
    expect(refused).to.deep.equal({ kind: 'no_room', level: 'global' });
    expect(foldNearlyFull(to, NOON + 1, settled(1000))).to.equal(ROOM);
  });

  it('stay exact: what could never be decided within the limits is refused by them', () => {
    const to = partitionWith();
    granted(to, NOON);
    const asked = budgetMessage('admit', request({ admission: freshId(), priority: 'P0', estimated: 1000 }));
    expect(foldNearlyFull(to, NOON, asked)).to.equal(0);
  });

  it('stay exact: what was answered without a decision throws: nobody waits for it', () => {
    const to = partitionWith();
    granted(to, NOON);
    const failed = (estimated: number) =>
      budgetMessage('failed_open', { ...request({ admission: freshId(), estimated }), settled: true });
    expect(() => foldNearlyFull(to, NOON, failed(1001))).to.throw(inexact);
    expect(foldNearlyFull(to, NOON, failed(1000))).to.equal(ROOM);
  });

  it('stay exact: so does the rest of what was degraded', () => {
    const to = partitionWith(budgets({ levels: budgets().levels.map((one) => ({ ...one, limit: 10_000 })) }));
    const known = (estimated: number) => {
      const { ids } = granted(to, NOON, { estimated });
      return budgetMessage('failed_open', { ...request({ admission: ids[0]!, estimated }), settled: false });
    };
    granted(to, NOON, { estimated: 6000 });
    // Half of 2502 and 2000 was granted.
    expect(() => foldNearlyFull(to, NOON, known(2502))).to.throw(inexact);
    expect(foldNearlyFull(to, NOON, known(2000))).to.equal(ROOM);
  });
});

describe('a message of budgets that is none', () => {
  it('throws', () => {
    const to = partitionWith();
    const before = to.texts();
    const id = freshId();
    const bad: readonly (readonly [type: string, data: object, why: string])[] = [
      ['admit', request({ estimated: 0 }), 'estimated is not a whole number from 1 to 9007199254740991'],
      ['admit', request({ estimated: 1.5 }), 'estimated is not a whole number from 1 to 9007199254740991'],
      ['admit', { ...request(), priority: 'P3' }, 'the priority is unknown'],
      ['admit', { ...request(), pipeline: 1 }, 'the pipeline is no text'],
      ['admit', { ...request(), keyed: 1 }, 'keyed is neither true nor false'],
      ['evaluate', { ...request(), body: null }, 'the body is no text'],
      ['admit', request({ holdMs: 0 }), 'holdMs is not a whole number from 1 to 2678400000'],
      ['admit', request({ admission: 'short' }), 'the admission is no id'],
      ['failed_open', request(), 'settled is neither true nor false'],
      [
        'failed_open',
        { ...request({ estimated: 1e12 + 1 }), settled: true },
        'estimated is not a whole number from 1 to 1000000000000',
      ],
      ['settle', { admission: id, actual: -1 }, 'actual is not a whole number from 0 to 1000000000000'],
      ['settle', { admission: id, actual: 1e12 + 1 }, 'actual is not a whole number from 0 to 1000000000000'],
      ['cancel', { admission: 'x' }, 'the admission is no id'],
      [
        'budgets_put',
        put({ ...budgets(), windowMs: 0 }),
        'windowMs is not a whole number from 1 to 9007199254740991',
      ],
      ['budgets_put', {}, 'the data are not an object'],
      ['nonsense', {}, 'unknown message type nonsense'],
    ];
    for (const [type, data] of bad) {
      to.ask(NOON, { type, tenant: 'acme', subject: 'acme', id: type, data, reply: 'api/1' });
    }
    expect(to.deadLetters).to.deep.equal(bad.map(([, , why]) => why));
    expect(to.texts()).to.deep.equal(before);
  });
});

describe('a window that is over and that an input may change', () => {
  it('is that of the admission, while something of it is held or may be given back', () => {
    const charge = { ...SETTINGS, holdExpiry: 'charge' as const };
    const to = partitionWith(budgets(), charge);
    const held = granted(to, NOON, { holdMs: 100_000 });
    const expired = granted(to, NOON, { holdMs: 1 });
    const done = granted(to, NOON);
    settle(to, NOON, done, 1);
    const startsOf = (admission: string, type: 'settle' | 'cancel' | 'failed_open' | 'admit') => {
      const message = { type, tenant: 'acme', subject: 'acme', id: 'x', data: { admission } };
      return pastWindowsOf({ message }, { state: to.state(), admissions: to.admissions(admission) });
    };
    for (const { ids } of [held, expired, done]) expect(startsOf(ids[0]!, 'settle')).to.deep.equal([]);
    admit(to, NOON + 40_000);
    for (const { ids } of [held, expired]) {
      for (const type of ['settle', 'cancel', 'failed_open'] as const) {
        expect(startsOf(ids[0]!, type)).to.deep.equal([NOON]);
      }
      expect(startsOf(ids[0]!, 'admit')).to.deep.equal([]);
    }
    expect(startsOf(done.ids[0]!, 'settle')).to.deep.equal([]);
    expect(startsOf(admissionId('nobody'), 'settle')).to.deep.equal([]);
    const timer = NAMES.admissionDocument('acme', held.ids[0]!.slice(0, 16));
    const known = { state: to.state(), admissions: to.admissions(held.ids[0]!) };
    expect(pastWindowsOf({ timer }, known)).to.deep.equal([NOON]);
    expect(pastWindowsOf({ timer: 'reset:acme' }, { ...known, admissions: null })).to.deep.equal([]);
  });
});
