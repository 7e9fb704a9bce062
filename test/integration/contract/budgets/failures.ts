import { expect } from 'chai';
import pg from 'pg';
import { Slots } from '../../../../api/slots.js';
import { Keys, type PartitionKeys } from '../../../../shared/keys.js';
import type { Answer, HttpClient } from '../../../support/http-client.js';
import { until } from '../../../support/redis-server.js';
import { WeirFixture, type WeirOptions } from '../../../support/weir-fixture.js';
import { BudgetCaller, LONG_WINDOW } from './budget-caller.js';

export const PARTITIONS = 2;

/** One window for the whole test; short deadlines; the ledger is written at once. */
const QUICK_FAULTS = {
  ...LONG_WINDOW,
  PARTITIONS: String(PARTITIONS),
  ADMISSION_DEADLINE_MS: '500',
  REPLY_DEADLINE_MS: '800',
  ARCHIVE_DELAY_MS: '50',
  RECONCILE_INTERVAL_SECONDS: '3600',
} as const;

const LEVELS = [
  { name: 'global', limit: 1_000_000 },
  { name: 'llm', parent: 'global', limit: 500_000 },
];

/** What the callers ask for in one round: `LOOK.admit` held, `LOOK.evaluate` and `LOOK.settle` settled. */
export const LOOK = { hold: 1000, admit: 100, evaluate: 10, settle: 300 } as const;

/** What each kind of call is answered: its status, and what says why. */
export interface Seen {
  readonly admit: string;
  readonly evaluate: string;
  readonly settle: string;
  readonly cancel: string;
  readonly admission: string;
  readonly budget: string;
  /** Absent: not asked. */
  readonly put?: string;
}

export const DECIDED: Seen = {
  ...{ admit: '201 ALLOW', evaluate: '200 ALLOW', settle: '200 settled', cancel: '200 cancelled' },
  ...{ admission: '200', budget: '200', put: '200 applied' },
};

/** What of a round does not depend on FAIL_MODE while Redis is there and nobody decides. */
const WAITING = {
  ...{ settle: '202 accepted', cancel: '202 accepted', put: '202 accepted' },
  ...{ admission: '200', budget: '200' },
} as const;
export const OPEN_WITHOUT_WORKER: Seen = {
  ...WAITING,
  ...{ admit: '201 ALLOW no_worker', evaluate: '200 ALLOW no_worker' },
};
export const CLOSED_WITHOUT_WORKER: Seen = {
  ...WAITING,
  ...{ admit: '503 undecided', evaluate: '503 undecided' },
};

const AWAY = '503 store_unavailable';
const WITHOUT_STORE = { settle: AWAY, cancel: AWAY, admission: AWAY, budget: AWAY, put: AWAY } as const;
export const OPEN_WITHOUT_STORE: Seen = {
  ...WITHOUT_STORE,
  ...{ admit: '201 ALLOW store_unavailable', evaluate: '200 ALLOW store_unavailable' },
};
export const CLOSED_WITHOUT_STORE: Seen = {
  ...WITHOUT_STORE,
  ...{ admit: '503 undecided', evaluate: '503 undecided' },
};

/** Tokens. */
interface Use {
  readonly held: number;
  readonly settled: number;
}

/** The sums of a tenant's ledger in Postgres. */
interface Ledger extends Use {
  readonly entries: number;
}

interface Answered {
  readonly status?: string | number;
  readonly code?: string;
  readonly decision?: string;
  readonly context?: { readonly reason?: string };
}

/** The same weir behind two APIs, one for each FAIL_MODE; one tenant with budgets of its own. */
export class BudgetsUnderFault {
  private rounds = 0;

  private constructor(
    readonly weir: WeirFixture,
    readonly open: BudgetCaller,
    readonly closed: BudgetCaller,
    private readonly apis: readonly HttpClient[],
  ) {}

  /** Without workers: `begin` says what the budgets are once there are some. */
  static async start(options: WeirOptions): Promise<BudgetsUnderFault> {
    const settings = { ...QUICK_FAULTS, ...options.settings };
    const weir = await WeirFixture.start({ ...options, settings, workers: 0 });
    try {
      const other = await weir.api({ FAIL_MODE: 'closed' });
      const [open, closed] = [weir.http, other].map((http) => new BudgetCaller(http, 'acme'));
      return new BudgetsUnderFault(weir, open!, closed!, [weir.http, other]);
    } catch (error) {
      await weir.close();
      throw error;
    }
  }

  async begin(more: object = {}): Promise<void> {
    await this.weir.ready();
    // 202 where a busy machine takes longer than an answer may wait.
    await until(
      10_000,
      'the budgets are applied',
      async () => (await this.put(this.open, more)).status === 200,
    );
  }

  put(caller: BudgetCaller, more: object = {}) {
    const body = { actor: 'test', reason: 'test', levels: LEVELS, ...more };
    return caller.send<Answered>('PUT', '/budgets', body);
  }

  /** Where the tenant's budgets live. */
  get keys(): PartitionKeys {
    return this.slots.ofTenant('acme').keys;
  }

  /** Of a partition of budgets. */
  keysAt(index: number): PartitionKeys {
    return this.slots.ofTopic('admissions')[index]!.keys;
  }

  /** A tenant whose budgets are in this partition. */
  tenantOf(index: number): string {
    const names = Array.from({ length: 20 }, (_, i) => `tenant-${i}`);
    return names.find((name) => this.slots.ofTenant(name).partition.index === index)!;
  }

  private get slots(): Slots {
    return new Slots(new Keys(this.weir.namespace), PARTITIONS);
  }

  /** An admission that is held. */
  async hold(tokens: number = LOOK.hold, more: object = {}): Promise<string> {
    const { status, body } = await this.open.admit('llm', 'P1', tokens, more);
    expect([status, body.decision, body['context']]).to.deep.equal([201, 'ALLOW', undefined]);
    return body.admission_id;
  }

  /** Two admissions for each API, for `look` to end. */
  holds(): Promise<readonly string[]> {
    return Promise.all(Array.from({ length: 4 }, () => this.hold()));
  }

  /** One call of each kind, through both APIs, all at once. @param holds of `holds` */
  async look(
    holds: readonly string[],
    calls: 'all' | 'without PUT' = 'all',
  ): Promise<{ readonly open: Seen; readonly closed: Seen }> {
    this.rounds += 1;
    const [open, closed] = await Promise.all([
      this.lookThrough(this.open, 'open', holds.slice(0, 2), calls),
      this.lookThrough(this.closed, 'closed', holds.slice(2), calls),
    ]);
    return { open, closed };
  }

  /** The request of a round that a caller of this API may ask again. */
  requestId(api: 'open' | 'closed'): string {
    return `${api}-${this.rounds}`;
  }

  private async lookThrough(
    caller: BudgetCaller,
    api: 'open' | 'closed',
    [settled = '', cancelled = '']: readonly string[],
    calls: 'all' | 'without PUT',
  ): Promise<Seen> {
    const asked = { pipeline: 'llm', priority: 'P1', estimated_tokens: LOOK.evaluate };
    const [admit, evaluate, settle, cancel, admission, budget, put] = await Promise.all([
      caller.admit('llm', 'P1', LOOK.admit, { request_id: this.requestId(api) }).then(decisionIn),
      caller.send<Answered>('POST', '/v1/evaluate', asked).then(decisionIn),
      caller.settle(settled, LOOK.settle).then(outcomeIn),
      caller.cancel(cancelled).then(outcomeIn),
      caller.send<Answered>('GET', `/admissions/${settled}`).then(statusIn),
      caller.send<Answered>('GET', '/budget').then(statusIn),
      calls === 'all' ? this.put(caller).then(outcomeIn) : undefined,
    ]);
    const seen = { admit, evaluate, settle, cancel, admission, budget };
    return put === undefined ? seen : { ...seen, put };
  }

  /** Resolves when all that was given is reported, and all that was appended is folded. */
  async calm(deadlineMs = 10_000): Promise<void> {
    const { redis } = this.weir;
    const partitions = Array.from({ length: PARTITIONS }, (_, index) => this.keysAt(index));
    await until(deadlineMs, 'everything is reported and folded', async () => {
      for (const api of this.apis) {
        const { text } = await api.get('/metrics');
        if (!text.includes('weir_fail_open_unreported 0\n')) return false;
      }
      const backlogs = await Promise.all(
        partitions.map(async (keys) => {
          const counts = [redis.get(keys.appended), redis.hget(keys.head, 'folded')];
          const [appended, folded] = (await Promise.all(counts)).map(Number);
          return appended! - folded!;
        }),
      );
      return backlogs.every((backlog) => backlog === 0);
    });
  }

  /** Once all is folded and written, this much is used of both levels: by the API (the open window) and by the ledger. */
  async expectUsed(use: Use): Promise<void> {
    await this.calm();
    const { global, llm } = await this.open.used();
    const expected = [use.settled, use.held];
    expect({ global, llm }).to.deep.equal({ global: expected, llm: expected });
    await this.expectLedger(use);
  }

  /** The same by the ledger alone: over all windows. */
  async expectLedger(use: Use): Promise<void> {
    await this.calm();
    await until(10_000, 'the ledger says it', async () => {
      expect((await this.ledgers()).at(-1)).to.include(use);
      return true;
    });
  }

  /** One for each epoch, the oldest first. @throws when the entries of one are not numbered 1, 2, 3, … */
  async ledgers(): Promise<readonly Ledger[]> {
    const rows = await this.query<Ledger & { first: number; last: number }>(
      `SELECT count(*)::int AS entries, sum(held)::int AS held, sum(settled)::int AS settled,
         min(seq)::int AS first, max(seq)::int AS last
       FROM budget_ledger WHERE tenant_id = 'acme' GROUP BY epoch ORDER BY epoch`,
    );
    return rows.map(({ first, last, ...ledger }) => {
      expect([first, last]).to.deep.equal([1, ledger.entries]);
      return ledger;
    });
  }

  /** Kind → number of entries of the tenant, over all epochs. */
  async kinds(): Promise<Readonly<Record<string, number>>> {
    const rows = await this.query<{ kind: string; entries: number }>(
      `SELECT kind, count(*)::int AS entries FROM budget_ledger WHERE tenant_id = 'acme' GROUP BY kind ORDER BY kind`,
    );
    return Object.fromEntries(rows.map(({ kind, entries }) => [kind, entries]));
  }

  async query<Row extends object>(text: string): Promise<readonly Row[]> {
    const client = new pg.Client({ connectionString: this.weir.environment['DATABASE_URL'] });
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  close(): Promise<void> {
    return this.weir.close();
  }
}

function decisionIn({ status, body }: Answer<Answered>): string {
  return [status, body.code ?? body.decision, body.context?.reason].filter(Boolean).join(' ');
}

function outcomeIn({ status, body }: Answer<Answered>): string {
  return `${status} ${body.code ?? body.status}`;
}

function statusIn({ status, body }: Answer<Answered>): string {
  return body.code === undefined ? `${status}` : `${status} ${body.code}`;
}
