import type { Redis } from 'ioredis';
import type { Keys } from '../keys.js';
import { CONTROL_SUBJECT, type Control, type TripwireLimits } from '../messages/commands.js';
import type { Mode } from '../messages/events.js';
import type { Message } from '../messages/message.js';
import { Script } from '../redis/script.js';
import { CONTROLS_MAX } from '../state/partition-state.js';

/** A control as it is asked for: the log gives it its id. */
export type ControlRequest = WithoutId<Control>;
type WithoutId<C> = C extends Control ? Omit<C, 'control'> : never;

/** What was last asked of a rule; absent fields mean the rule's own default. */
export interface AskedSettings {
  readonly mode?: Mode;
  readonly limits?: TripwireLimits;
}

/** Settings together with their text, by which a change made meanwhile is noticed. */
export interface ReadSettings {
  readonly settings: AskedSettings;
  readonly text: string;
}

const NOTHING_ASKED: ReadSettings = { settings: {}, text: '' };

const recordScript = new Script(import.meta.url, 'record-control.lua');

/** What was asked of every rule that anybody asked anything of. */
export async function readAskedSettings(redis: Redis, keys: Keys): Promise<Map<string, AskedSettings>> {
  const all = await redis.hgetall(keys.controlRules);
  return new Map(Object.entries(all).map(([rule, text]) => [rule, JSON.parse(text) as AskedSettings]));
}

export async function readAskedSettingsOf(redis: Redis, keys: Keys, rule: string): Promise<ReadSettings> {
  const text = await redis.hget(keys.controlRules, rule);
  return text === null ? NOTHING_ASKED : { settings: JSON.parse(text) as AskedSettings, text };
}

/**
 * Records a control, and the settings it makes of `before`, in one step.
 * @param changed undefined leaves the settings as they are
 * @returns the control; undefined when the settings are no longer `before`
 */
export async function recordControl(
  redis: Redis,
  keys: Keys,
  request: ControlRequest,
  before: ReadSettings,
  changed: AskedSettings | undefined,
): Promise<Control | undefined> {
  const settings = changed === undefined ? '' : JSON.stringify(changed);
  const id = (await recordScript.run(
    redis,
    [keys.controlRules, keys.controlLog],
    [request.rule, before.text, settings, JSON.stringify(request), CONTROLS_MAX],
  )) as string | null;
  return id === null ? undefined : { ...request, control: id };
}

/** The controls the log still has, oldest first. A partition that lacks one gets it from here. */
export async function readControls(redis: Redis, keys: Keys): Promise<Control[]> {
  const entries = await redis.xrange(keys.controlLog, '-', '+', 'COUNT', CONTROLS_MAX);
  return entries.map(([id, fields]) => ({ ...(JSON.parse(fields[1]!) as ControlRequest), control: id }));
}

/**
 * The message that carries a control to a partition: the same whoever sends it, so that a partition which gets it
 * twice (from the API process that was asked and from an owner that missed it) knows it by its id.
 */
export function controlMessage(
  control: Control,
  from: { readonly reply?: string; readonly request?: string } = {},
): Message<Control> {
  return {
    type: 'control',
    subject: CONTROL_SUBJECT,
    id: `control-${control.control}`,
    data: control,
    ...from,
  };
}
