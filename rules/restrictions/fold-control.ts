import type { Effect } from '../../shared/effects.js';
import type { Control, TripwireLimits } from '../../shared/messages/commands.js';
import { MODES, type Mode } from '../../shared/messages/events.js';
import type { Message } from '../../shared/messages/message.js';
import {
  CONTROLS_REMEMBERED_MAX,
  isNewerControl,
  type PartitionState,
  type RuleSettings,
} from '../../shared/state/partition-state.js';
import type { Catalog } from './compile-catalog.js';
import { isRuleName } from './rule-defects.js';
import { rollbackTimer } from './timer-id.js';

export interface FoldedControl {
  readonly partition: PartitionState;
  readonly effects: readonly Effect[];
}

type ModeControl = Extract<Control, { action: 'mode' }>;
type RollbackControl = Extract<Control, { action: 'rollback' }>;

/**
 * Folds one control message. Each control id takes effect once; a setting gives way only to a newer control id, so
 * that messages which overtake each other on their way leave every partition with the same settings. The rule need not
 * be in the registry: it may be gone, and what it restricted is lifted by the index of its users; or, during a deploy,
 * the next owner may be the first that has it.
 * @throws for what is not a control: it becomes a dead letter
 */
export function foldControl(
  partition: PartitionState,
  message: Message,
  catalog: Catalog,
  at: number,
): FoldedControl {
  const control = parseControl(message.data);
  const { reply } = message;
  if (partition.controls.includes(control.control)) return foldAgain(partition, control, reply);
  const remembered: PartitionState = {
    ...partition,
    controls: [...partition.controls, control.control].slice(-CONTROLS_REMEMBERED_MAX),
  };
  switch (control.action) {
    case 'mode':
      return setMode(remembered, control, catalog.byName.get(control.rule)?.rule.mode ?? 'off', reply, at);
    case 'rollback':
      return startRollback(remembered, control, control.since, reply, at);
    case 'tripwire':
      return setLimits(remembered, control.rule, control.control, control.limits, reply);
    case 'rearm':
      return rearm(remembered, control.rule, control.control, reply);
  }
}

/** Nothing happens twice; whoever asks again still gets an answer: now, or when the rollback has finished. */
function foldAgain(partition: PartitionState, control: Control, reply: string | undefined): FoldedControl {
  if (reply === undefined) return { partition, effects: [] };
  const rollbacks = partition.rollbacks.map((rollback) =>
    rollback.control === control.control ? { ...rollback, reply } : rollback,
  );
  if (partition.rollbacks.some((rollback) => rollback.control === control.control)) {
    return { partition: { ...partition, rollbacks }, effects: [] };
  }
  return { partition, effects: replyWith(reply, finalReply(control)) };
}

/** The answer to a control that has nothing left to do. */
function finalReply(control: Control): object {
  if (control.action === 'rollback') return { lifted: 0 };
  return control.action === 'mode' && control.lift ? { applied: true, lifted: 0 } : { applied: true };
}

function setMode(
  partition: PartitionState,
  control: ModeControl,
  ownMode: Mode,
  reply: string | undefined,
  at: number,
): FoldedControl {
  const { rule } = control;
  const settings = partition.rules[rule] ?? {};
  if (!isNewerControl(control.control, settings.modeControl)) {
    return { partition, effects: replyWith(reply, finalReply(control)) };
  }
  const { shadowControl, ...kept } = settings;
  const before = settings.mode ?? ownMode;
  const changed: RuleSettings = { ...kept, mode: control.mode, modeControl: control.control };
  const begun = before === 'shadow' ? shadowControl : control.control;
  const inShadow = control.mode === 'shadow' && begun !== undefined;
  const { [rule]: _hits, ...otherShadow } = partition.shadow;
  const applied: PartitionState = {
    ...withSettings(partition, rule, inShadow ? { ...changed, shadowControl: begun } : changed),
    // The count belongs to one stay in shadow.
    shadow: control.mode === 'shadow' ? partition.shadow : otherShadow,
  };
  return control.lift
    ? startRollback(applied, control, 0, reply, at)
    : { partition: applied, effects: replyWith(reply, { applied: true }) };
}

function setLimits(
  partition: PartitionState,
  rule: string,
  control: string,
  limits: TripwireLimits,
  reply: string | undefined,
): FoldedControl {
  const settings = partition.rules[rule] ?? {};
  const newer = isNewerControl(control, settings.limitsControl);
  return {
    partition: newer
      ? withSettings(partition, rule, { ...settings, limits, limitsControl: control })
      : partition,
    effects: replyWith(reply, { applied: true }),
  };
}

/** From here on the partition asks the tripwire in the new era, in which the window is empty and nothing tripped. */
function rearm(
  partition: PartitionState,
  rule: string,
  control: string,
  reply: string | undefined,
): FoldedControl {
  const settings = partition.rules[rule] ?? {};
  const newer = isNewerControl(control, settings.era);
  return {
    partition: newer ? withSettings(partition, rule, { ...settings, era: control }) : partition,
    effects: replyWith(reply, { applied: true }),
  };
}

/** Its steps are timers (fold-rollback.ts); the last one replies. */
function startRollback(
  partition: PartitionState,
  { control, action, rule }: RollbackControl | ModeControl,
  since: number,
  reply: string | undefined,
  at: number,
): FoldedControl {
  const rollback = {
    control,
    action,
    rule,
    since,
    until: at,
    lifted: 0,
    ...(reply === undefined ? {} : { reply }),
  };
  return {
    partition: { ...partition, rollbacks: [...partition.rollbacks, rollback] },
    effects: [{ kind: 'timer', id: rollbackTimer(control), dueAt: at }],
  };
}

function withSettings(partition: PartitionState, rule: string, settings: RuleSettings): PartitionState {
  return { ...partition, rules: { ...partition.rules, [rule]: settings } };
}

function replyWith(reply: string | undefined, body: object): readonly Effect[] {
  return reply === undefined ? [] : [{ kind: 'reply', to: reply, body }];
}

function parseControl(data: unknown): Control {
  const value = (data ?? {}) as Partial<Record<string, unknown>>;
  const { control, rule, action } = value;
  if (typeof control !== 'string' || !/^\d+-\d+$/.test(control)) throw new Error('the control has no id');
  if (typeof rule !== 'string' || !isRuleName(rule)) throw new Error('the control names no rule');
  switch (action) {
    case 'mode':
      if (!MODES.some((mode) => mode === value['mode'])) throw new Error('the control sets an unknown mode');
      if (typeof value['lift'] !== 'boolean') throw new Error('lift is not a boolean');
      break;
    case 'tripwire':
      if (!isLimits(value['limits'])) throw new Error('the limits of the control are incomplete');
      break;
    case 'rollback':
      if (!Number.isFinite(value['since'])) throw new Error('since is not a time');
      break;
    case 'rearm':
      break;
    default:
      throw new Error(`unknown control action ${String(action).slice(0, 100)}`);
  }
  return data as Control;
}

function isLimits(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { max_share, max_users, min_population, window_seconds } = value as Partial<TripwireLimits>;
  return (
    [max_share, min_population, window_seconds].every(Number.isFinite) &&
    (max_users === null || Number.isFinite(max_users))
  );
}
