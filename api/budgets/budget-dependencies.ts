import type { IncomingMessage } from 'node:http';
import type { Redis } from 'ioredis';
import { DEFAULT_TENANT } from '../../shared/topics.js';
import { callerTenant } from '../caller-tenant.js';
import type { BodyReader } from '../http/body.js';
import type { OwnDatabase } from '../own-database.js';
import type { CommandDependencies } from '../send-command.js';
import type { Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';

/** What showing and changing budgets needs. */
export interface BudgetDependencies extends CommandDependencies {
  /** With autoPipelining: what is asked for together travels together. */
  readonly redis: Redis;
  readonly slots: Slots;
  readonly gate: StoreGate;
  readonly bodies: BodyReader;
  /** undefined: this process has no DATABASE_URL. */
  readonly database: OwnDatabase | undefined;
  /** BUDGET_WINDOW_SECONDS, in ms: where a tenant has no window of its own. */
  readonly windowMs: number;
}

/** Whose budgets a call is about. @throws Refusal invalid_request */
export function tenantOf(req: IncomingMessage): string {
  return callerTenant(req) ?? DEFAULT_TENANT;
}
