import { append, UNBOUNDED } from '../../shared/append/append.js';
import {
  type AskedSettings,
  type ControlRequest,
  controlMessage,
  readAskedSettingsOf,
  recordControl,
} from '../../shared/control/control-log.js';
import type { Control } from '../../shared/messages/commands.js';
import { Refusal } from '../refusal.js';
import type { PendingReply } from '../replies.js';
import type { Slot } from '../slots.js';
import type { RuleDependencies } from './rule-dependencies.js';

/** Others change the same rule at the same moment: so often the settings are read again. */
const RECORD_ATTEMPTS_MAX = 8;

/** What a control asks for, given what was asked of the rule before. */
export interface ControlPlan {
  readonly request: ControlRequest;
  /** The settings it leaves behind; absent: it changes none. */
  readonly settings?: AskedSettings;
}

export interface Applied {
  /** Partitions that answered that they applied it. */
  readonly applied: number;
  readonly partitions: number;
  /** Restrictions lifted, summed over the partitions that answered. */
  readonly lifted: number;
}

/** Records a control in the control log. @throws Refusal when others keep changing the rule */
export async function record(
  { redis, keys }: RuleDependencies,
  rule: string,
  plan: (asked: AskedSettings) => ControlPlan,
): Promise<{ control: Control; settings: AskedSettings }> {
  for (let attempt = 1; attempt <= RECORD_ATTEMPTS_MAX; attempt++) {
    const before = await readAskedSettingsOf(redis, keys, rule);
    const { request, settings } = plan(before.settings);
    const control = await recordControl(redis, keys, request, before, settings);
    if (control !== undefined) return { control, settings: settings ?? before.settings };
  }
  throw new Refusal('overloaded', 'The rule is being changed by others; try again.');
}

/**
 * Sends a recorded control to every partition and waits for their replies, in bounded time. A partition it does not
 * reach gets the control from the control log later: from its owner.
 */
export async function broadcast(
  dependencies: RuleDependencies,
  control: Control,
  request: string,
): Promise<Applied> {
  const slots = dependencies.slots.ofTopic('events');
  const replies = await Promise.all(slots.map((slot) => sendTo(dependencies, slot, control, request)));
  let applied = 0;
  let lifted = 0;
  for (const reply of replies) {
    // An older worker says that it does not know a rule.
    if (typeof reply !== 'object' || reply === null || 'unknown_rule' in reply) continue;
    applied++;
    lifted += Number((reply as { readonly lifted?: number }).lifted ?? 0);
  }
  return { applied, partitions: slots.length, lifted };
}

async function sendTo(
  { redis, replies, log }: RuleDependencies,
  slot: Slot,
  control: Control,
  request: string,
): Promise<unknown> {
  let pending: PendingReply | undefined;
  try {
    pending = replies.expect(slot);
    const message = controlMessage(control, { reply: pending.address, request });
    // No bound on the backlog: a control is what stops a flood.
    await append(redis, slot.keys, [[JSON.stringify(message)]], UNBOUNDED);
    return await pending.reply;
  } catch (error) {
    pending?.cancel();
    log.warn({ err: error, control: control.control, partition: slot.name }, 'control not sent');
    return undefined;
  }
}
