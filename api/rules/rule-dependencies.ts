import type { Redis } from 'ioredis';
import type { Rule } from '../../rules/restrictions/rule.js';
import type { Keys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import type { TripwireLimits } from '../../shared/messages/commands.js';
import type { BodyReader } from '../http/body.js';
import type { ReplyWaiter } from '../replies.js';
import type { Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';
import type { LateRollbacks } from './late-rollbacks.js';

/** What showing and changing rules needs. */
export interface RuleDependencies {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly slots: Slots;
  readonly gate: StoreGate;
  readonly bodies: BodyReader;
  readonly replies: ReplyWaiter;
  readonly rules: readonly Rule[];
  /** Limits of a tripwire where neither the rule nor anybody says otherwise. */
  readonly limits: TripwireLimits;
  readonly lateRollbacks: LateRollbacks;
  readonly log: Logger;
}
