import fc from 'fast-check';
import type { BudgetSettings } from '../../../shared/budget-settings.js';
import { type AdmissionRequest, admissionKey, type FailedOpen } from '../../../shared/messages/admissions.js';
import type { Message } from '../../../shared/messages/message.js';
import { type BudgetConfig, DEFAULT_BUDGETS, type LevelConfig } from '../../../shared/state/budget-config.js';
import { admissionId, budgetMessage, put } from './budget-messages.js';
import type { BudgetInput } from './budget-partition.js';

/** Random histories of two tenants: everything that can be asked, over random trees, windows and settings. */

const START = Date.UTC(2026, 10, 20, 12);
const NAMES = ['root', 'team', '__proto__', 'constructor', 'a', 'b'];

/** Thresholds in order, often the same, sometimes 0. */
const thresholds = fc
  .tuple(...Array.from({ length: 3 }, () => fc.integer({ min: 0, max: 1_600_000 })))
  .map((drawn) => drawn.toSorted((one, other) => one - other));
const drawnLevel = fc.record({
  thresholds,
  p2: fc.option(fc.tuple(fc.integer({ min: 0, max: 1_000_000 }), fc.integer({ min: 0, max: 1_000_000 }))),
  limit: fc.integer({ min: 1, max: 3000 }),
  parent: fc.nat({ max: 5 }),
});
const levels = fc.array(drawnLevel, { minLength: 2, maxLength: NAMES.length }).map((drawn): LevelConfig[] =>
  drawn.map(({ thresholds: [soft = 0, hard = 0, p0 = 0], p2, limit, parent }, n) => {
    const p2Sorted = p2?.toSorted((one, other) => one - other);
    const [p2Soft = null, p2Hard = null] = p2Sorted ?? [];
    return {
      name: NAMES[n]!,
      parent: n === 0 ? null : NAMES[parent % n]!,
      limit,
      soft,
      hard,
      p2Soft,
      p2Hard,
      p0,
    };
  }),
);
const config: fc.Arbitrary<BudgetConfig> = fc.record({
  version: fc.constant(0),
  appliedAt: fc.constant(0),
  windowMs: fc.oneof(fc.constant(null), fc.constantFrom(1000, 7000, 60_000)),
  maxRequestShare: fc.integer({ min: 300_000, max: 1_600_000 }),
  degradedDebit: fc.integer({ min: 0, max: 1_000_000 }),
  levels,
});

const settings: fc.Arbitrary<BudgetSettings> = fc.record({
  windowMs: fc.constantFrom(2000, 10_000, 30_000),
  holdMs: fc.constantFrom(null, 500, 15_000),
  holdExpiry: fc.constantFrom('release', 'charge'),
  keepMs: fc.constantFrom(1, 5000, 3_600_000),
  dedupeMs: fc.constantFrom(1, 2000, 300_000),
});

/** A step of time: often none, sometimes past a hold or a window, rarely past all that is kept. */
const wait = fc.oneof(
  { weight: 40, arbitrary: fc.integer({ min: 0, max: 100 }) },
  { weight: 10, arbitrary: fc.integer({ min: 0, max: 4000 }) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 40_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 290_000, max: 4_000_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 80_000_000, max: 400_000_000 }) },
);
const tenant = fc.constantFrom('acme', 'acme', 'weyland');

const drawnRequest = fc.record({
  wait,
  tenant,
  kind: fc.constantFrom('admit', 'admit', 'admit', 'evaluate'),
  key: fc.nat({ max: 7 }),
  keyed: fc.constantFrom(true, true, false),
  /** Which of the tenant's pipelines; 0: the root, or one that does not exist. */
  pipeline: fc.nat({ max: 20 }),
  priority: fc.constantFrom('P0', 'P1', 'P1', 'P2'),
  estimated: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 900 })),
  body: fc.constantFrom('one', 'one', 'one', 'two'),
  holdMs: fc.oneof(fc.constant(null), fc.constantFrom(1, 300, 20_000, 70_000, 400_000_000)),
  /** EVALUATE_DEDUPE_MS. */
  dedupeMs: fc.constantFrom(0, 1, 500, 60_000),
});
/** `which` says which of the ids that were made before; `more` is the use beyond the estimate. */
const drawnEnd = fc.record({
  wait,
  kind: fc.constantFrom<'settle' | 'cancel' | 'abandon'>('settle', 'settle', 'cancel', 'abandon'),
  which: fc.nat(),
  share: fc.constantFrom<number>(0, 0.3, 1),
  more: fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: 0, max: 500 })),
});
const drawnFailedOpen = fc.record({
  wait,
  kind: fc.constant('failed_open' as const),
  request: drawnRequest,
  which: fc.nat(),
  /** Told of with the id it was sent with, or with another one; or it was never sent. */
  how: fc.constantFrom('sent', 'sent_as', 'unsent', 'unsent'),
  /** So much else happens before it is told: what ends it may come first. */
  delay: fc.constantFrom(0, 0, 1, 3, 10),
  /** While the report waits it is asked again at the same process, and decided. */
  retried: fc.boolean(),
  waitedMs: fc.constantFrom(null, null, 1000, 250_000, 4_000_000),
});
const drawnPut = fc.record({
  wait,
  tenant,
  kind: fc.constant('put' as const),
  config,
  restoredAgo: fc.option(fc.integer({ min: -100, max: 10_000 })),
});
const drawnSettings = fc.record({ wait, kind: fc.constant('settings' as const), settings });

const drawnTimerLost = fc.record({ wait, tenant, kind: fc.constant('timer_lost' as const) });

type DrawOf<Drawn> = Drawn extends fc.Arbitrary<infer T> ? T : never;
type RequestDraw = DrawOf<typeof drawnRequest>;
type EndDraw = DrawOf<typeof drawnEnd>;
type Draw =
  | RequestDraw
  | EndDraw
  | DrawOf<typeof drawnFailedOpen>
  | DrawOf<typeof drawnPut>
  | DrawOf<typeof drawnTimerLost>
  | DrawOf<typeof drawnSettings>;

export interface History {
  readonly settings: BudgetSettings;
  readonly inputs: readonly BudgetInput[];
}

interface Made {
  readonly tenant: string;
  readonly request: AdmissionRequest;
  readonly evaluated: boolean;
}

function historyOf(start: BudgetSettings, configs: readonly BudgetConfig[], draws: readonly Draw[]): History {
  const made: Made[] = [];
  let at = START;
  const inputs: BudgetInput[] = [];
  const send = (message: Message) => inputs.push({ kind: 'message', at, message });
  const waiting: { left: number; readonly message: Message; readonly retry: Message | undefined }[] = [];
  const [acme, weyland] = configs;
  send(budgetMessage('budgets_put', put(acme!)));
  if (weyland !== undefined) send(budgetMessage('budgets_put', put(weyland), 'weyland'));
  const requestOf = (draw: RequestDraw, where: 'a' | 'o'): Made => {
    const evaluated = draw.kind === 'evaluate';
    // Nobody can ask for the same again without a key.
    const isByBody = evaluated && !draw.keyed && draw.dedupeMs > 0;
    const { priority, estimated, body, holdMs, dedupeMs } = isByBody ? withFewBodies(draw) : draw;
    const key = draw.keyed
      ? `${evaluated ? 'e' : 'k'}${draw.key}`
      : isByBody
        ? `b${estimated}`
        : `u${made.length}`;
    // As the API asks: an evaluate without a key is remembered for a moment.
    const keyed =
      draw.keyed || !evaluated
        ? { keyed: draw.keyed }
        : ({ keyed: true, fleeting: true, ...(isByBody ? { dedupeMs } : {}) } as const);
    const nth = isByBody ? 1 : draw.pipeline;
    const pipeline = pipelineOf(configs[draw.tenant === 'acme' ? 0 : 1] ?? DEFAULT_BUDGETS, nth);
    const admission = admissionId(key, made.length, where, at);
    const request = { pipeline, priority, estimated, ...keyed, body, admission };
    const one = {
      tenant: draw.tenant,
      evaluated,
      request: holdMs === null ? request : { ...request, holdMs },
    };
    made.push(one);
    return one;
  };
  /** As a process answers that takes the store to be away. */
  const renamed = ({ tenant: of, request, evaluated }: Made): Omit<FailedOpen, 'settled'> => {
    const asked = request.admission;
    const report = { ...request, admission: admissionId(admissionKey(asked), made.length, 'o', at) };
    made.push({ tenant: of, request: report, evaluated });
    return asked[16] === 'a' ? { ...report, asked } : report;
  };
  for (const draw of draws) {
    at += draw.wait;
    for (const report of waiting) {
      if (report.left-- === 0) send(report.message);
      if (report.left === 0 && report.retry !== undefined) send(report.retry);
    }
    if (draw.kind === 'settings') inputs.push({ kind: 'settings', at, settings: draw.settings });
    else if (draw.kind === 'timer_lost') inputs.push({ kind: 'timer_lost', at, tenant: draw.tenant });
    else if (draw.kind === 'put') {
      const { config: drawn, restoredAgo } = draw;
      const data =
        restoredAgo === null
          ? put(drawn)
          : put({ ...drawn, version: 99, appliedAt: at - restoredAgo }, { restored: true });
      send(budgetMessage('budgets_put', data, draw.tenant));
    } else if (draw.kind === 'failed_open') {
      const known = draw.how === 'unsent' ? undefined : made[draw.which % (made.length || 1)];
      const one = known ?? requestOf(draw.request, 'o');
      const report = known !== undefined && draw.how === 'sent_as' ? renamed(known) : one.request;
      const { waitedMs } = draw;
      const data = { ...report, settled: one.evaluated, ...(waitedMs === null ? {} : { waitedMs }) };
      const { reply: _nobodyWaits, ...message } = budgetMessage('failed_open', data, one.tenant);
      if (draw.delay === 0) send(message);
      else {
        const type = one.evaluated ? 'evaluate' : 'admit';
        const { asked: _unsaid, ...again } = report as FailedOpen;
        const retry = draw.retried && report.keyed ? budgetMessage(type, again, one.tenant) : undefined;
        waiting.push({ left: draw.delay, message, retry });
      }
    } else if ('pipeline' in draw) {
      const { request } = requestOf(draw, 'a');
      send(budgetMessage(draw.kind, request, draw.tenant));
    } else {
      const recent = made.filter(({ evaluated }) => !evaluated || draw.which % 10 === 0).slice(-8);
      const one = recent[draw.which % (recent.length || 1)];
      if (one === undefined) continue;
      const { admission, estimated } = one.request;
      if (draw.kind === 'settle') {
        const actual = Math.floor(estimated * draw.share) + draw.more;
        send(budgetMessage('settle', { admission, actual }, one.tenant));
      } else {
        const data = draw.kind === 'abandon' ? { admission, abandoned: true as const } : { admission };
        send(budgetMessage('cancel', data, one.tenant));
      }
    }
  }
  for (const report of waiting) if (report.left >= 0) send(report.message);
  return { settings: start, inputs };
}

/** Equal keys are equal bodies. */
function withFewBodies(draw: RequestDraw): RequestDraw {
  return { ...draw, priority: 'P1', pipeline: 1, estimated: 30 + draw.key * 10, body: 'one', holdMs: null };
}

function pipelineOf({ levels: [root, ...pipelines] }: BudgetConfig, drawn: number): string {
  if (drawn === 0) return pipelines.length % 2 === 0 ? root!.name : 'nothing';
  return pipelines[drawn % pipelines.length]!.name;
}

const histories = (...drawn: fc.WeightedArbitrary<Draw>[]): fc.Arbitrary<History> =>
  fc
    .tuple(
      settings,
      fc.array(config, { minLength: 1, maxLength: 2 }),
      fc.array(fc.oneof(...drawn), { minLength: 1, maxLength: 60, size: 'max' }),
    )
    .map(([start, configs, draws]) => historyOf(start, configs, draws));

const requests = { weight: 12, arbitrary: drawnRequest };
const ends = { weight: 7, arbitrary: drawnEnd };

/** Everything that can happen. */
export const anything = histories(
  requests,
  ends,
  { weight: 4, arbitrary: drawnFailedOpen },
  { weight: 1, arbitrary: drawnPut },
  { weight: 1, arbitrary: drawnSettings },
  { weight: 1, arbitrary: drawnTimerLost },
);

/** Budgets that change between requests. */
export const changing = histories({ ...requests, weight: 4 }, { weight: 1, arbitrary: drawnPut });

/** Nothing is used that was not granted by a decision before: no overruns, nothing answered without a decision. */
export const frugal = histories(requests, {
  weight: 7,
  arbitrary: drawnEnd.map((draw) => ({ ...draw, share: Math.min(draw.share, 0.3), more: 0 })),
}).map(
  ({ settings: start, inputs }): History => ({
    settings: { ...start, holdExpiry: 'charge' },
    inputs: inputs.map((input) =>
      input.kind === 'message' ? { ...input, message: withinGrant(input.message) } : input,
    ),
  }),
);

/** Without what depends on how often something was asked for. */
export const unabandoned = histories(requests, {
  weight: 7,
  arbitrary: drawnEnd.map((draw): EndDraw => (draw.kind === 'abandon' ? { ...draw, kind: 'cancel' } : draw)),
});

/** A degraded grant is half of the estimate here. */
function withinGrant(message: Message): Message {
  if (message.type !== 'budgets_put') return message;
  const data = message.data as { readonly config: BudgetConfig };
  return { ...message, data: { ...data, config: { ...data.config, degradedDebit: 500_000 } } };
}
