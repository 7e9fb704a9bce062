import { expect } from 'chai';
import pino from 'pino';
import type { OutboxEntry } from '../../../consumer/engine/outbox-drain.js';
import { BudgetHistory } from '../../../consumer/sinks/budget-history.js';
import { budgetsDocument } from '../../../shared/budgets/budgets-document.js';
import { createLogger } from '../../../shared/logging.js';
import type {
  BudgetSnapshot,
  BudgetsApplied,
  LedgerEntry,
} from '../../../shared/messages/budget-emissions.js';
import { DEFAULT_BUDGETS } from '../../../shared/state/budget-config.js';
import { ArchiveUnderTest, T0 } from './archive-under-test.js';

const DAY_MS = 86_400_000;

function grant(seq: number, more: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    ...{ tenant: 't', epoch: T0, seq, at: T0 + seq, kind: 'grant', window: T0, path: ['global', 'ranking'] },
    ...{ held: 10, settled: 0, admission: 'a'.repeat(24), pipeline: 'ranking', priority: 'P1', tokens: 20 },
    ...more,
  };
}

function snapshot(revision: number, settled: number, more: Partial<BudgetSnapshot> = {}): BudgetSnapshot {
  const counts = { admitted: 3, degraded: 2, refused: 1 };
  return {
    ...{ tenant: 't', epoch: T0, start: T0, end: T0 + 30_000, revision, version: 4, entries: 7 },
    levels: [
      { name: 'global', limit: 1000, settled, ...counts },
      { name: 'removed', limit: null, settled: 0, admitted: 0, degraded: 0, refused: 0 },
    ],
    ...more,
  };
}

function applied(version: number, more: Partial<BudgetsApplied> = {}): BudgetsApplied {
  const config = { ...DEFAULT_BUDGETS, version, appliedAt: T0 + version };
  return { tenant: 't', config, actor: 'me', reason: `version ${version}`, ...more };
}

describe('the history of budgets in Postgres', () => {
  let test: ArchiveUnderTest;
  let history: BudgetHistory;
  let ids = 0;
  beforeEach(async () => {
    test = await ArchiveUnderTest.start();
    history = new BudgetHistory(test.sinkPool(), createLogger('test', 'silent'));
  });
  afterEach(() => test.close());

  function entry(type: string, body: unknown): OutboxEntry {
    ids += 1;
    return { id: `${T0 + ids}-0`, type, body };
  }
  const ledger = (...entries: readonly unknown[]) => entry('ledger', entries);

  /** `seq kind held/settled`, in order. */
  async function rows(): Promise<string[]> {
    const found = await test.query<{ row: string }>(
      `SELECT format('%s %s %s/%s', seq, kind, held, settled) AS row FROM budget_ledger ORDER BY tenant_id, epoch, seq`,
    );
    return found.map(({ row }) => row);
  }

  /** `level revision settled limit`. */
  async function windows(): Promise<string[]> {
    const found = await test.query<{ row: string }>(
      `SELECT format('%s %s %s %s', level, revision, settled, coalesce(token_limit::text, 'none')) AS row
       FROM budget_windows ORDER BY tenant_id, epoch, window_start, level`,
    );
    return found.map(({ row }) => row);
  }

  async function versions(): Promise<number[]> {
    const found = await test.query<{ version: number }>(
      `SELECT version FROM budget_versions WHERE tenant_id = 't' ORDER BY applied_at, version`,
    );
    return found.map(({ version }) => version);
  }

  it('keeps every line of the ledger, whole', async () => {
    const reset: LedgerEntry = {
      ...{ tenant: 't', epoch: T0, seq: 2, at: T0 + 30_000, kind: 'reset', window: T0 },
      ...{ path: [], held: 0, settled: 0 },
    };
    const large = { held: -1e12, settled: 1e12, tokens: 1e12, seq: 2 ** 40 };
    await history.write('admissions.3', [
      ledger(grant(1), reset),
      ledger(grant(1, { tenant: 'u', ...large })),
    ]);
    const found = await test.query('SELECT * FROM budget_ledger ORDER BY tenant_id, seq');
    const common = { epoch: T0, window_start: new Date(T0) };
    const path = ['global', 'ranking'];
    const by = { admission_id: 'a'.repeat(24), pipeline: 'ranking', priority: 'P1' };
    const none = { tokens: null, admission_id: null, pipeline: null, priority: null };
    expect(found).to.deep.equal([
      {
        ...{ tenant_id: 't', ...common, seq: 1, at: new Date(T0 + 1), kind: 'grant' },
        ...{ path, held: 10, settled: 0, tokens: 20, ...by },
      },
      {
        ...{ tenant_id: 't', ...common, seq: 2, at: new Date(T0 + 30_000), kind: 'reset' },
        ...{ path: [], held: 0, settled: 0, ...none },
      },
      { ...{ tenant_id: 'u', ...common, at: new Date(T0 + 1), kind: 'grant', path }, ...large, ...by },
    ]);
  });

  it('keeps once what comes again, whatever comes with it', async () => {
    const first = [
      ledger(grant(1), grant(2)),
      entry('budget_snapshot', snapshot(1, 10)),
      entry('budgets_applied', applied(1)),
    ];
    await history.write('admissions.3', first);
    await history.write('admissions.3', first);
    await history.write('admissions.3', [
      ...[...first, ledger(grant(2), grant(3, { kind: 'settle', held: -10, settled: 7 })), ledger(grant(3))],
      entry('budgets_applied', applied(2)),
    ]);
    await history.write('admissions.3', []);
    expect(await rows()).to.deep.equal(['1 grant 10/0', '2 grant 10/0', '3 settle -10/7']);
    expect(await windows()).to.deep.equal(['global 1 10 1000', 'removed 1 0 none']);
    expect(await versions()).to.deep.equal([1, 2]);
  });

  it('has the highest revision of a window, in whatever order they come', async () => {
    const write = (...snapshots: readonly BudgetSnapshot[]) =>
      history.write(
        'admissions.3',
        snapshots.map((each) => entry('budget_snapshot', each)),
      );
    await write(snapshot(2, 20), snapshot(1, 10));
    expect(await windows()).to.deep.equal(['global 2 20 1000', 'removed 2 0 none']);
    await write(snapshot(1, 10));
    expect(await windows()).to.deep.equal(['global 2 20 1000', 'removed 2 0 none']);
    await write(snapshot(3, 30), snapshot(4, 40), snapshot(3, 30));
    expect(await windows()).to.deep.equal(['global 4 40 1000', 'removed 4 0 none']);
    // Another epoch is another window: Redis was lost meanwhile.
    await write(snapshot(1, 1, { epoch: T0 + 5 }));
    expect(await windows()).to.include.members(['global 4 40 1000', 'global 1 1 1000']);
    const [first] = await test.query(`SELECT * FROM budget_windows WHERE revision = 4 AND level = 'global'`);
    expect(first).to.include({
      version: 4,
      entries: 7,
      admitted: 3,
      degraded: 2,
      refused: 1,
      tenant_id: 't',
    });
    expect(first!['window_end']).to.deep.equal(new Date(T0 + 30_000));
  });

  it('keeps versions as people write them', async () => {
    await history.write('admissions.3', [entry('budgets_applied', applied(7))]);
    const [version] = await test.query(`SELECT * FROM budget_versions WHERE tenant_id = 't'`);
    expect(version).to.include({ version: 7, actor: 'me', reason: 'version 7' });
    expect(version!['applied_at']).to.deep.equal(new Date(T0 + 7));
    expect(version!['document']).to.deep.equal(budgetsDocument(DEFAULT_BUDGETS));
  });

  it('makes tenants and days when it first sees them, and again when they have gone', async () => {
    await history.write('admissions.0', [
      ledger(grant(1, { tenant: 'b' }), grant(2, { tenant: 'a', at: T0 - DAY_MS })),
      entry('budget_snapshot', snapshot(1, 1)),
    ]);
    const tenants = () => test.query(`SELECT id, name FROM tenants WHERE id <> 'default' ORDER BY id`);
    expect(await tenants()).to.deep.equal(['a', 'b', 't'].map((id) => ({ id, name: id })));
    await test.query(`SELECT drop_ledger_partitions('2027-01-01')`);
    await test.query(`DELETE FROM budget_windows; DELETE FROM tenants WHERE id <> 'default'`);
    await history.write('admissions.0', [ledger(grant(3)), entry('budget_snapshot', snapshot(1, 1))]);
    expect(await rows()).to.deep.equal(['3 grant 10/0']);
    expect(await tenants()).to.deep.equal([{ id: 't', name: 't' }]);
  });

  it('leaves out what Postgres refuses, and nothing else, and says so', async () => {
    const said: { entry?: unknown }[] = [];
    const log = pino({ level: 'error' }, { write: (line: string) => said.push(JSON.parse(line)) });
    history = new BudgetHistory(test.sinkPool(), log);
    await history.write('admissions.3', [
      ledger(
        grant(1),
        grant(2, { pipeline: '\0' }),
        grant(3),
        grant(4, { priority: 'P9' as 'P0' }),
        grant(5),
      ),
      entry('budget_snapshot', snapshot(1, 1, { end: T0 })),
      entry('budget_snapshot', snapshot(1, 5, { start: T0 - 60_000 })),
      entry('budgets_applied', applied(1, { reason: '\0' })),
      entry('budgets_applied', applied(2)),
    ]);
    expect(await rows()).to.deep.equal(['1 grant 10/0', '3 grant 10/0', '5 grant 10/0']);
    expect(await windows()).to.deep.equal(['global 1 5 1000', 'removed 1 0 none']);
    expect(await versions()).to.deep.equal([2]);
    expect(said).to.have.length(4);
  });

  it('is not stopped by what is no entry at all', async () => {
    const broken = [
      ...[null, 1, {}, grant(0, { at: Number.NaN }), grant(0, { tenant: 'no tenant' })],
      ...[
        grant(0, { held: 0.5 }),
        grant(0, { tokens: 2 ** 60 }),
        grant(0, { path: [1] as unknown as string[] }),
      ],
      grant(0, { admission: 7 as unknown as string }),
    ];
    await history.write('admissions.3', [
      ...[ledger(...broken, grant(1)), entry('ledger', null), entry('ledger', { no: 'list' })],
      ...[entry('budget_snapshot', {}), entry('budget_snapshot', null)],
      entry('budget_snapshot', { ...snapshot(1, 1), levels: [null] }),
      ...[entry('budgets_applied', { tenant: 't' }), entry('budgets_applied', applied(1))],
    ]);
    expect(await rows()).to.deep.equal(['1 grant 10/0']);
    expect(await windows()).to.deep.equal([]);
    expect(await versions()).to.deep.equal([1]);
  });

  it('writes many lines in bounded transactions, refused ones among them', async () => {
    const many = Array.from({ length: 12_000 }, (_, i) => grant(i + 1));
    many[7000] = grant(7001, { priority: 'P9' as 'P0' });
    const entries = Array.from({ length: 24 }, (_, i) => ledger(...many.slice(i * 500, i * 500 + 500)));
    await history.write('admissions.3', entries);
    const [found] = await test.query(
      `SELECT count(*)::int AS lines, sum(held)::int AS held, max(seq) AS last,
         count(*) FILTER (WHERE seq = 7001)::int AS refused,
         (count(DISTINCT xmin::text) >= 3) AS several FROM budget_ledger`,
    );
    expect(found).to.deep.equal({ lines: 11_999, held: 119_990, last: 12_000, refused: 0, several: true });
  }).timeout(20_000);
});
