import type { Request, Response } from 'express';
import type { Redis } from 'ioredis';
import type { Keys } from '../../../shared/keys.js';
import { withTenant } from '../../../shared/postgres/tenant-context.js';
import { HotUsage } from '../../../shared/usage/hot-usage.js';
import { callerTenant } from '../../caller-tenant.js';
import type { Handler } from '../../http/routes.js';
import type { OwnDatabase } from '../../own-database.js';
import { invalid } from '../../refusal.js';
import type { StoreGate } from '../../store-gate.js';
import { LargeAnswers } from './large-answers.js';
import { ReadingTurns } from './reading-turns.js';
import { UsageArchive } from './usage-archive.js';
import { WindowPieces } from './window-pieces.js';
import { WindowsReader } from './windows-reader.js';

/** What the process has. */
export interface UsageQueryOptions {
  /** A connection of its own: others wait for the whole of a reply that is long. */
  readonly redis: Redis;
  readonly keys: Keys;
  readonly gate: StoreGate;
  /** undefined: this process has no DATABASE_URL. */
  readonly database: OwnDatabase | undefined;
  readonly partitions: number;
  /** Length of a window, in ms. */
  readonly windowMs: number;
  /** A window closes so long after its end, in ms. */
  readonly latenessMs: number;
}

/** What the handlers use of it. */
export interface UsageQueryDependencies {
  readonly gate: StoreGate;
  readonly hot: HotUsage;
  /** undefined: this process has no DATABASE_URL. */
  readonly archive: UsageArchive | undefined;
  readonly windows: WindowsReader;
  readonly pieces: WindowPieces;
  /** Every read of a document takes one. */
  readonly turns: ReadingTurns;
  readonly large: LargeAnswers;
  readonly windowMs: number;
  readonly latenessMs: number;
}

export function usageQueryDependencies(options: UsageQueryOptions): UsageQueryDependencies {
  const { gate, database, windowMs, latenessMs } = options;
  const hot = new HotUsage(options);
  const archive = database === undefined ? undefined : new UsageArchive(database);
  const windows = new WindowsReader(hot, archive);
  const turns = new ReadingTurns();
  const pieces = new WindowPieces(windows, turns);
  return { gate, hot, archive, windows, pieces, turns, large: new LargeAnswers(), windowMs, latenessMs };
}

export type TenantHandler = (tenant: string, req: Request, res: Response) => Promise<void>;

/**
 * Runs a handler in the context of the caller's tenant; whatever it reads belongs to that tenant.
 * @throws Refusal invalid_request for a caller without one (rejects)
 */
export function forTenant(handler: TenantHandler): Handler {
  return async (req, res) => {
    const tenant = callerTenant(req);
    if (tenant === undefined) throw invalid('X-Tenant-Id', 'is required');
    await withTenant(tenant, () => handler(tenant, req, res));
  };
}
