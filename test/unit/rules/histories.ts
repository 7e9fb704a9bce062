import fc from 'fast-check';
import type { Control, TripwireLimits } from '../../../shared/messages/commands.js';
import { FEATURES, MODES } from '../../../shared/messages/events.js';
import type { Message } from '../../../shared/messages/message.js';
import type { Answer, Entry } from './simulated-partition.js';
import { burstRule, SEED_RULES } from './test-rules.js';

export const USERS = ['u1', 'u2', 'a:b', '__proto__', 'constructor'];
export const CATALOG = [...SEED_RULES, burstRule({ mode: 'shadow', expiresAfterSeconds: 90 })];
const limits: TripwireLimits = { max_share: 0.5, max_users: 3, min_population: 5, window_seconds: 60 };

/** A step of time: often none, sometimes past a window, rarely past a day. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 2000 }) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 120_000 }) },
  { weight: 1, arbitrary: fc.constant(86_400_000) },
);
const amount = fc.integer({ min: 1, max: 50_000 }).map((units) => units / 10_000);
export const user = fc.constantFrom(...USERS);
type Draw = {
  readonly type: string;
  readonly subject: string;
  readonly data: unknown;
  readonly step: number;
};

export const event: fc.Arbitrary<Draw> = fc.oneof(
  fc.record({ type: fc.constant('scam_message_flagged'), subject: user, data: fc.constant({}), step }),
  fc.record({
    type: fc.constant('credit_card_added'),
    subject: user,
    data: fc.record({ card_id: fc.constantFrom(...'abcdefg'), zip_code: fc.constantFrom(...'123') }),
    step,
  }),
  fc.record({
    type: fc.constantFrom('purchase_made', 'chargeback_occurred'),
    subject: user,
    data: fc.record({ amount }),
    step,
  }),
);

export const command: fc.Arbitrary<Draw> = fc.oneof(
  fc.record({
    type: fc.constant('override_put'),
    subject: user,
    data: fc.record(
      {
        feature: fc.constantFrom(...FEATURES),
        allow: fc.boolean(),
        reason: fc.constant('r'),
        actor: fc.constant('a'),
        expires_at: fc.integer({ min: 1, max: 400_000 }),
      },
      { requiredKeys: ['feature', 'allow', 'reason', 'actor'] },
    ),
    step,
  }),
  fc.record({
    type: fc.constant('override_delete'),
    subject: user,
    data: fc.record({ feature: fc.constantFrom(...FEATURES) }),
    step,
  }),
);

const rule = fc.constantFrom(...CATALOG.map(({ name }) => name), 'no_such_rule');
const id = fc.integer({ min: 1, max: 60 }).map((n) => `${n}-0`);
const controlData: fc.Arbitrary<Control> = fc.oneof(
  fc.record({
    control: id,
    rule,
    action: fc.constant('mode' as const),
    mode: fc.constantFrom(...MODES),
    lift: fc.boolean(),
  }),
  fc.record({ control: id, rule, action: fc.constant('tripwire' as const), limits: fc.constant(limits) }),
  fc.record({ control: id, rule, action: fc.constant('rearm' as const) }),
  fc.record({
    control: id,
    rule,
    action: fc.constant('rollback' as const),
    since: fc.integer({ min: 0, max: 400_000 }),
  }),
);
const control: fc.Arbitrary<Draw> = fc.record({
  type: fc.constant('control'),
  subject: fc.constant(''),
  data: controlData,
  step,
});

export const history = fc
  .array(
    fc.oneof(
      { weight: 12, arbitrary: event },
      { weight: 2, arbitrary: command },
      { weight: 1, arbitrary: control },
    ),
    { minLength: 1, maxLength: 60 },
  )
  .map((draws) => entriesOf(draws));

export function entriesOf(draws: readonly Draw[]): Entry[] {
  let at = 0;
  return draws.map(({ type, subject, data, step }, index) => {
    at += step;
    const message: Message = { type, subject, id: `m${index}`, data, reply: `api/${index}` };
    return { message, at };
  });
}

/** A tripwire without a clock: what it says depends on nothing but the question, as a recorded answer does. */
export const deniesSome: Answer = (reservations) =>
  new Map(reservations.map(({ key }) => [key, !/u2$|__$/.test(key)]));
