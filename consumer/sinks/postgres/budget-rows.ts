import { setImmediate } from 'node:timers/promises';
import { type BudgetsDocument, budgetsDocument } from '../../../shared/budgets/budgets-document.js';
import type { BudgetSnapshot, BudgetsApplied } from '../../../shared/messages/budget-emissions.js';
import type { Transaction } from './transaction.js';

const ROWS_PER_STATEMENT = 1000;

const KEY = ['tenant_id', 'epoch', 'window_start', 'level'];
const REPLACED = [
  ...['window_end', 'revision', 'version', 'entries', 'token_limit'],
  ...['settled', 'admitted', 'degraded', 'refused'],
];

/** A change of the budgets; `at` in ms. */
export interface VersionRow {
  readonly tenant: string;
  readonly at: number;
  readonly version: number;
  readonly document: BudgetsDocument;
  readonly actor: string;
  readonly reason: string;
}

/** Index: budget_windows_pkey. */
const UPSERT_WINDOWS = `INSERT INTO budget_windows AS stored (${[...KEY, ...REPLACED].join(', ')})
  SELECT tenant, epoch, to_timestamp(start / 1000.0), name, to_timestamp("end" / 1000.0),
    revision, version, entries, "limit", settled, admitted, degraded, refused
  FROM json_to_recordset($1::json) AS given (tenant text, epoch bigint, start double precision,
    "end" double precision, revision integer, version integer, entries bigint, name text, "limit" bigint,
    settled bigint, admitted bigint, degraded bigint, refused bigint)
  ON CONFLICT (${KEY.join(', ')}) DO UPDATE
  SET ${REPLACED.map((name) => `${name} = EXCLUDED.${name}`).join(', ')}
  WHERE stored.revision < EXCLUDED.revision`;

/** Index: budget_versions_pkey. */
const INSERT_VERSIONS = `INSERT INTO budget_versions (tenant_id, applied_at, version, document, actor, reason)
  SELECT tenant, to_timestamp(at / 1000.0), version, document, actor, reason
  FROM json_to_recordset($1::json) AS given (tenant text, at double precision, version integer, document jsonb,
    actor text, reason text)
  ON CONFLICT DO NOTHING`;

/** Stores windows, each at most once among them; a stored one whose revision is not lower stays as it is. */
export async function upsertBudgetWindows(
  tx: Transaction,
  snapshots: readonly BudgetSnapshot[],
): Promise<void> {
  await inPortions(tx, UPSERT_WINDOWS, snapshots, ({ levels, ...window }) =>
    levels.map((level) => ({ ...window, ...level })),
  );
}

export async function insertVersions(tx: Transaction, versions: readonly VersionRow[]): Promise<void> {
  await inPortions(tx, INSERT_VERSIONS, versions, (version) => [version]);
}

/** @throws TypeError when the configuration is none */
export function versionRow({ tenant, config, actor, reason }: BudgetsApplied): VersionRow {
  const { version, appliedAt } = config;
  return { tenant, at: appliedAt, version, document: budgetsDocument(config), actor, reason };
}

async function inPortions<Item>(
  tx: Transaction,
  statement: string,
  items: readonly Item[],
  recordsOf: (item: Item) => readonly object[],
): Promise<void> {
  let records: object[] = [];
  for (const [i, item] of items.entries()) {
    records.push(...recordsOf(item));
    if (records.length < ROWS_PER_STATEMENT && i < items.length - 1) continue;
    await tx.query(statement, [JSON.stringify(records)]);
    records = [];
    await setImmediate();
  }
}
