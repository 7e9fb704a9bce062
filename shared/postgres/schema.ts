import type { ColumnType, Generated, GeneratedAlways } from 'kysely';
import type { BudgetsDocument } from '../budgets/budgets-document.js';
import type { LedgerKind } from '../messages/budget-emissions.js';
import type { Priority } from '../state/budget-config.js';

/**
 * The tables as queries see them; what they are for is in docs/data-model.md. A `bigint` is a number here
 * (see column-types.ts), a `timestamptz` a Date with milliseconds.
 */
export interface Schema {
  tenants: TenantsTable;
  customers: CustomersTable;
  usage_events: UsageEventsTable;
  aggregation_windows: AggregationWindowsTable;
  sink_positions: SinkPositionsTable;
  restriction_changes: RestrictionChangesTable;
  budget_ledger: BudgetLedgerTable;
  budget_windows: BudgetWindowsTable;
  budget_versions: BudgetVersionsTable;
}

/** Kept by the database: defaults on insert, a trigger on update. */
interface AuditColumns {
  created_at: Generated<Date>;
  updated_at: Generated<Date>;
}

/** Written as JSON text, read as what it says. */
type Json<T> = ColumnType<T, string, string>;

interface TenantsTable extends AuditColumns {
  id: string;
  name: string;
  active: Generated<boolean>;
}

interface CustomersTable extends AuditColumns {
  id: GeneratedAlways<number>;
  tenant_id: string;
  external_id: string;
  name: string;
}

interface UsageEventsTable {
  /** Milliseconds of the id of the event's stream entry. */
  accepted_at: Date;
  partition: number;
  entry_seq: number;
  message_index: number;
  tenant_id: string;
  customer_id: number;
  event_id: string;
  event_at: Date;
  window_start: Date;
  status: 'accepted' | 'late' | 'duplicate' | 'dead';
  /** 0: it counted in no window. */
  window_revision: number;
  endpoint: string;
  model: string | null;
  tokens: number;
  input_tokens: number;
  output_tokens: number;
  latency_us: number | null;
  metadata: ColumnType<Readonly<Record<string, unknown>>, string | undefined, string>;
  /** `source` of a CloudEvent; null: the event was none, or older than this column. */
  source: string | null;
}

/** Name, calls, tokens. An array, because names are data: an object would have a key `__proto__`. */
export type DimensionRow = readonly [name: string, calls: number, tokens: number];

export interface AggregationData {
  readonly endpoints: readonly DimensionRow[];
  readonly models: readonly DimensionRow[];
  /** `encodeSketch` of shared/state/latency-sketch.ts. */
  readonly latency: readonly number[];
}

interface AggregationWindowsTable extends AuditColumns {
  id: GeneratedAlways<number>;
  tenant_id: string;
  customer_id: number;
  window_start: Date;
  window_end: Date;
  status: 'closed' | 'revised';
  revision: number;
  partition: number;
  total_calls: number;
  total_tokens: number;
  total_input_tokens: number;
  total_output_tokens: number;
  latency_count: number;
  latency_sum_us: number;
  late_events: number;
  aggregation_data: Json<AggregationData>;
  /** The last message counted: entry id in milliseconds and sequence, place inside the entry. */
  as_of_at: Date;
  as_of_seq: number;
  as_of_index: number;
}

interface SinkPositionsTable {
  sink: string;
  /** `usage.3`. */
  stream: string;
  /** Id of the last outbox entry written. */
  outbox_id: string;
  /** Id of the last stream entry whose verdicts are all written. */
  stream_position: string;
  updated_at: Generated<Date>;
}

interface RestrictionChangesTable {
  /** `events.3`. */
  stream: string;
  outbox_id: string;
  tenant_id: string;
  subject: string;
  type: 'restricted' | 'lifted' | 'override_set' | 'override_removed';
  body: Json<Readonly<Record<string, unknown>>>;
  happened_at: Date;
  created_at: Generated<Date>;
}

interface BudgetLedgerTable {
  at: Date;
  tenant_id: string;
  /** ms since 1970. */
  epoch: number;
  seq: number;
  kind: LedgerKind;
  window_start: Date;
  /** The root first; empty for a reset. */
  path: readonly string[];
  held: number;
  settled: number;
  tokens: number | null;
  admission_id: string | null;
  pipeline: string | null;
  priority: Priority | null;
}

interface BudgetWindowsTable extends AuditColumns {
  tenant_id: string;
  epoch: number;
  window_start: Date;
  level: string;
  window_end: Date;
  revision: number;
  version: number;
  /** Of the ledger, about the whole window. */
  entries: number;
  /** null: the level was removed while the window was open. */
  token_limit: number | null;
  settled: number;
  admitted: number;
  degraded: number;
  refused: number;
}

interface BudgetVersionsTable {
  tenant_id: string;
  applied_at: Date;
  version: number;
  document: Json<BudgetsDocument>;
  actor: string;
  reason: string;
  created_at: Generated<Date>;
}
