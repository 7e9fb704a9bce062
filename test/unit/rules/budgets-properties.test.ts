import { expect } from 'chai';
import fc from 'fast-check';
import type {
  AdmissionRequest,
  AdmitReply,
  EvaluateReply,
  FailedOpen,
} from '../../../shared/messages/admissions.js';
import { admissionKey } from '../../../shared/messages/admissions.js';
import type { Message } from '../../../shared/messages/message.js';
import { DEFAULT_BUDGETS } from '../../../shared/state/budget-config.js';
import type { Admission, AdmissionDocument, BudgetWindow } from '../../../shared/state/budget-state.js';
import { anything, changing, frugal, type History, unabandoned } from './budget-histories.js';
import { admissionId, budgetMessage } from './budget-messages.js';
import { BudgetPartition } from './budget-partition.js';
import { expectConserved, expectedAvailable, expectedDecision, sumsOf } from './budget-recount.js';

const RUNS = { numRuns: 150 };
const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 });

/** What was decided; undefined for a retry of what was granted, and what is no decision. */
function verdictOf(reply: AdmitReply | EvaluateReply, isRetryOfGrant: boolean) {
  switch (reply.kind) {
    case 'admitted':
      if (!reply.fresh) return undefined;
      return { verdict: reply.admission.decision, granted: reply.admission.granted };
    case 'refused':
      return { verdict: 'refused', level: reply.by.level };
    case 'too_large':
      return { verdict: 'too_large', level: reply.level };
    case 'unknown_pipeline':
      return { verdict: reply.kind };
    case 'evaluated':
      if (isRetryOfGrant) return undefined;
      if (reply.tooLarge !== undefined) return { verdict: 'too_large', level: reply.tooLarge.level };
      if (reply.refused !== undefined) return { verdict: 'refused', level: reply.refused.by.level };
      return { verdict: reply.decision, granted: reply.granted };
    default:
      return undefined;
  }
}

interface Seen {
  readonly message: Message;
  readonly reply: unknown;
  readonly partition: BudgetPartition;
  /** What was known of its key before it. */
  readonly known: AdmissionDocument | null;
  /** Entries of the ledger before it. */
  readonly ledger: number;
  /** How many retries it was counted as. */
  readonly retries: number;
  /** How many refusals it was counted as: at the levels of the window that is open after it, and by the metric. */
  readonly rejections: readonly [levels: number, metric: number];
}

/** All timers that are not lost fire; then somebody asks, of each tenant. */
function runOut(partition: BudgetPartition): void {
  partition.idle(partition.now + 100_000_000);
  for (const tenant of ['acme', 'weyland']) {
    const cancel = budgetMessage('cancel', { admission: admissionId('nobody') }, tenant);
    const { reply: _nobodyWaits, ...message } = cancel;
    partition.ask(partition.now, message);
  }
  partition.idle(partition.now + 1_000_000_000);
}

/** Refusals that its levels have counted. */
function refusedIn(window: Readonly<BudgetWindow> | null): number {
  return [...(window?.levels.values() ?? [])].reduce((sum, use) => sum + use.refused, 0);
}

/** Every input in a step of its own; `see` is told what became of each message. */
function runWatched({ settings, inputs }: History, see: (seen: Seen) => void): BudgetPartition {
  const partition = new BudgetPartition(settings);
  for (const input of inputs) {
    partition.idle(input.at);
    const { length } = partition.effects;
    const ledger = partition.ledger().length;
    const { admission } = ('message' in input ? input.message.data : {}) as Partial<AdmissionRequest>;
    const tenant = 'message' in input ? input.message.tenant : undefined;
    const known = admission === undefined ? null : partition.admissions(admission, tenant);
    const before = partition.state(tenant)?.window ?? null;
    partition.run([input]);
    if (input.kind !== 'message') continue;
    const effects = partition.effects.slice(length);
    const reply = effects.find((effect) => effect.kind === 'reply')?.body;
    const counted = (metric: string) =>
      effects.filter((effect) => effect.kind === 'count' && effect.metric === metric).length;
    const after = partition.state(tenant)?.window ?? null;
    const refused = refusedIn(after) - (before?.start === after?.start ? refusedIn(before) : 0);
    const rejections = [refused, counted('admission_reject')] as const;
    see({
      ...{ message: input.message, reply, partition, known, ledger, rejections },
      retries: counted('admission_retry'),
    });
  }
  return partition;
}

/** Sizes of steps and what is forgotten change nothing that anybody can see. */
function outcome(
  { settings, inputs }: History,
  sizes: number[],
  forgets: (step: number) => boolean,
  expires: boolean,
) {
  const partition = new BudgetPartition(settings, { forgets, expires });
  runOut(partition.run(inputs, ...sizes));
  expect(partition.deadLetters).to.deep.equal([]);
  return partition;
}

/** An identical request with an id of its own right after each keyed one. */
function withRetries({ settings, inputs }: History, times: number): History {
  let n = 0;
  return {
    settings,
    inputs: inputs.flatMap((input) => {
      if (input.kind !== 'message' || !['admit', 'evaluate'].includes(input.message.type)) return [input];
      const request = input.message.data as AdmissionRequest;
      if (!request.keyed || (request.fleeting === true && request.dedupeMs === undefined)) return [input];
      const retries = Array.from({ length: times }, () => {
        n += 1;
        const admission = admissionId(admissionKey(request.admission), `r${n}`.padStart(7, '0'));
        return { ...input, message: { ...input.message, id: `retry${n}`, data: { ...request, admission } } };
      });
      return [input, ...retries];
    }),
  };
}

/** What was answered undecided is known afterwards, and is charged unless its caller, or its expiry, says otherwise. */
function expectCharged({ message, partition, known, ledger }: Seen): void {
  const { admission: id, asked, body } = message.data as FailedOpen;
  const isKnown = (each: Admission, other: string | undefined) =>
    other !== undefined && each.ids.includes(other) && (each.keepUntil ?? Infinity) > partition.now;
  const before = known?.admissions.filter(
    (each) => each.status !== 'refused' && (isKnown(each, id) || isKnown(each, asked)),
  );
  const after = partition
    .admissions(id, message.tenant)!
    .admissions.findLast((each) => isKnown(each, id) && each.body === body);
  if (after === undefined) throw new Error('nobody knows of what was answered');
  const { status, expiresAt, expiry, estimated, granted, charged } = after;
  const end = known?.ends?.find((each) => each.id === id && partition.now < each.until);
  if (end !== undefined) {
    expect(partition.admissions(id, message.tenant)!.ends ?? []).not.to.deep.include(end);
    expect(status).not.to.equal('held');
    const was = known!.admissions.findLast(
      (each) => each.ids[0] === after.ids[0] && isKnown(each, each.ids[0]),
    );
    if (was === undefined || was.status === 'held' || was.status === 'refused')
      expect(charged).to.equal(end.actual ?? 0);
  } else if (status === 'held') expect(granted).to.equal(estimated);
  else if (status === 'settled' && expiresAt === null) expect(charged).to.equal(estimated);
  else if (status !== 'settled') {
    // It is over only for who was told of it before.
    expect(before).to.have.length.greaterThan(0);
    if (expiry === 'charge' && status === 'expired') expect(charged).to.equal(estimated);
  }
  const entries = partition
    .ledger()
    .slice(ledger)
    .filter(({ kind }) => kind === 'fail_open');
  const debited = entries.reduce((sum, { held, settled }) => sum + held + settled, 0);
  expect(debited).to.be.within(0, estimated);
  // A retry with the id of the answer may have been decided as another request than the one that was asked first.
  const own = before?.filter((each) => isKnown(each, id)) ?? [];
  const decided =
    own.length === 0
      ? before?.find((each) => isKnown(each, asked) && each.status !== 'cancelled')
      : own.findLast((each) => each.body === body);
  if (decided !== undefined) expect(debited).to.be.at.most(decided.estimated - decided.granted);
  if (known?.admissions.some((each) => isKnown(each, id) && each.body === body && each.failedOpen !== null)) {
    expect(debited).to.equal(0);
  }
}

/** What is decided under an id that was given undecided takes the end that was kept for it. */
function expectEndTaken({ message, reply, partition, known }: Seen): void {
  const { admission: id } = message.data as AdmissionRequest;
  const end = known?.ends?.find((each) => each.id === id && partition.now < each.until);
  const answer = reply as AdmitReply;
  if (end === undefined || answer.kind !== 'admitted') return;
  const { status, charged } = answer.admission;
  expect(status).to.equal('settled');
  if (answer.fresh) expect(charged).to.equal(end.actual);
  expect(partition.admissions(id, message.tenant)!.ends ?? []).not.to.deep.include(end);
}

/** A refusal says what is available now, and until when; one that is asked again is counted once in each window. */
function expectRefusedNow({ message, reply, partition, known, ledger, rejections }: Seen): void {
  const answer = reply as AdmitReply | EvaluateReply | undefined;
  const refused = answer?.kind === 'evaluated' ? answer.refused : answer;
  if (refused === undefined || !('by' in refused)) return;
  const { body, priority, estimated } = message.data as AdmissionRequest;
  const tenant = message.tenant!;
  const { config, window } = partition.state(tenant)!;
  const { level, available, resetsAt } = refused.by;
  const sums = sumsOf(partition.ledger().slice(0, ledger), tenant, window!.start);
  expect(available).to.equal(expectedAvailable(config ?? DEFAULT_BUDGETS, sums, level, priority));
  expect(available).to.be.lessThan(estimated);
  expect([resetsAt, refused.retryAfterMs]).to.deep.equal([window!.end, window!.end - partition.now]);
  const last = known?.admissions.at(-1);
  const before = last?.status === 'refused' && last.keepUntil! > partition.now ? last : undefined;
  if (before !== undefined) expect(before.body).to.equal(body);
  expect(refused.attempts).to.equal((before?.attempts ?? 0) + 1);
  const counted = before?.window === window!.start ? 0 : 1;
  expect(rejections).to.deep.equal([counted, counted]);
}

describe('budgets, whatever happens', () => {
  it('charge what was answered undecided, once, whatever is known of it', () => {
    fc.assert(
      fc.property(anything, (history) => {
        runWatched(history, (seen) => {
          if (seen.message.type === 'failed_open') expectCharged(seen);
          if (seen.message.type === 'admit') expectEndTaken(seen);
        });
      }),
      RUNS,
    );
  });

  it('never keep a window open beyond its end', () => {
    fc.assert(
      fc.property(fc.oneof(anything, changing), (history) => {
        runWatched(history, ({ message, partition }) => {
          const { window = null } = partition.state(message.tenant) ?? {};
          expect(window?.end ?? Infinity).to.be.greaterThan(partition.now);
        });
      }),
      RUNS,
    );
  });

  it('refuse by what is so now, however often they are asked, and count a request once in a window', () => {
    fc.assert(
      fc.property(fc.oneof(anything, changing), (history) => {
        runWatched(history, expectRefusedNow);
      }),
      RUNS,
    );
  });

  it('decide each request by exactly what is used at the moment it is decided', () => {
    fc.assert(
      fc.property(anything, (history) => {
        runWatched(history, ({ message, reply, partition, ledger, known, retries }) => {
          if (message.type !== 'admit' && message.type !== 'evaluate') return;
          const request = message.data as AdmissionRequest;
          const tenant = message.tenant!;
          const before = partition.ledger().slice(0, ledger);
          const isRetryOfGrant = retries > 0 && known!.admissions.at(-1)!.status !== 'refused';
          const verdict = verdictOf(reply as AdmitReply | EvaluateReply, isRetryOfGrant);
          if (verdict === undefined) return;
          const state = partition.state(tenant);
          const window = state?.window;
          const sums = sumsOf(before, tenant, window?.start ?? -1);
          expect(verdict).to.deep.equal(expectedDecision(state?.config ?? DEFAULT_BUDGETS, sums, request));
        });
      }),
      RUNS,
    );
  });

  it('never use more than the highest threshold allows, unless something was used that was not granted', () => {
    fc.assert(
      fc.property(frugal, (history) => {
        runWatched(history, ({ partition }) => {
          for (const tenant of ['acme', 'weyland']) {
            const state = partition.state(tenant);
            for (const { name, limit, hard, p2Hard, p0 } of state?.config?.levels ?? []) {
              const { settled, held } = state?.window?.levels.get(name) ?? { settled: 0, held: 0 };
              const most = Math.max(hard, p2Hard ?? 0, p0);
              expect((settled + held) * 1_000_000, name).to.be.at.most(limit * most);
            }
          }
        });
      }),
      RUNS,
    );
  });

  it('conserve: windows, holds and admissions equal the ledger at every moment, and nothing stays held', () => {
    fc.assert(
      fc.property(anything, (history) => {
        const partition = runWatched(history, ({ partition: now }) => expectConserved(now));
        runOut(partition);
        expectConserved(partition);
        for (const tenant of ['acme', 'weyland']) {
          expect(partition.state(tenant)?.window ?? null).to.equal(null);
          const sums = new Set(partition.ledger().map(({ window }) => window));
          for (const window of sums) {
            for (const { held } of sumsOf(partition.ledger(), tenant, window).values())
              expect(held).to.equal(0);
          }
        }
        expect(partition.documentNames('budget-window:')).to.deep.equal([]);
        expect(partition.documentNames('admission:')).to.deep.equal([]);
        expect(partition.timers.size).to.equal(0);
        expect(partition.deadLetters).to.deep.equal([]);
      }),
      { numRuns: 60 },
    );
  });

  it('decide the same in steps of any size, by any owner, whenever Redis forgets what it may', () => {
    fc.assert(
      fc.property(anything, cuts, (history, sizes) => {
        const one = outcome(history, [1], () => true, true);
        const other = outcome(history, sizes, (step) => step % 3 === 0, false);
        const whole = outcome(history, [], () => false, true);
        expect(other.effects).to.deep.equal(one.effects);
        expect(whole.effects).to.deep.equal(one.effects);
        expect(whole.texts()).to.deep.equal(one.texts());
        // What Redis may forget and did not is all that there is more.
        const texts = other.texts();
        for (const [name, text] of Object.entries(one.texts())) expect(texts[name]).to.equal(text);
      }),
      RUNS,
    );
  });

  it('debit a request once, however often it is asked for, and count no refusal twice', () => {
    fc.assert(
      fc.property(unabandoned, fc.integer({ min: 1, max: 3 }), (history, times) => {
        const once = new BudgetPartition(history.settings).run(history.inputs, 1);
        const retried = withRetries(history, times);
        const often = new BudgetPartition(history.settings).run(retried.inputs, 1);
        expect(often.ledger()).to.deep.equal(once.ledger());
        expect(often.snapshots()).to.deep.equal(once.snapshots());
        for (const tenant of ['acme', 'weyland']) {
          expect(often.state(tenant)?.window).to.deep.equal(once.state(tenant)?.window);
        }
        for (const decision of ['allow', 'allow_degraded']) {
          expect(often.counts(`admission_${decision}`)).to.equal(once.counts(`admission_${decision}`));
        }
      }),
      RUNS,
    );
  });
});
