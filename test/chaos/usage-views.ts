import { type NamedFigures, type SlotFigures, sortedByName, type WindowFigures } from './usage-recount.js';

type NamedView = Readonly<Record<string, { readonly calls: number; readonly tokens: number }>>;

interface WindowView {
  readonly windowStart: string;
  readonly windowEnd: string;
  readonly tenantId: string;
  readonly customerId: string;
  readonly status: string;
  readonly revision: number;
  readonly settling: boolean;
  readonly aggregations: {
    readonly totalCalls: number;
    readonly totalTokens: number;
    readonly totalInputTokens: number;
    readonly totalOutputTokens: number;
    readonly avgLatencyMs: number;
    readonly byEndpoint: NamedView;
    readonly byModel: NamedView;
  };
}

interface SlotView {
  readonly start: string;
  readonly calls: number;
  readonly tokens: number;
  readonly byEndpoint: NamedView;
  readonly byModel: NamedView;
}

interface Page {
  readonly windows: readonly WindowView[];
  readonly nextCursor: string | null;
}

interface Range {
  /** ms since the epoch. */
  readonly from: number;
  readonly to: number;
}

/** A counter as the API answers it. */
export interface CountedSlot {
  /** ms since the epoch. */
  readonly start: number;
  readonly figures: SlotFigures;
}

const PAGE_WINDOWS = 20;

/** Usage of many tenants and customers as the API answers it. */
export class UsageViews {
  constructor(
    private readonly url: string,
    private readonly tenants: readonly string[],
    private readonly customers: readonly string[],
  ) {}

  /** `tenant customer start` → figures, sorted, read page by page. */
  async windows(range: Range): Promise<Map<string, WindowFigures>> {
    const found = new Map<string, WindowFigures>();
    for (const window of await this.listAll(range)) {
      const key = `${window.tenantId} ${window.customerId} ${Date.parse(window.windowStart)}`;
      if (found.has(key)) throw new Error(`the window ${key} comes twice`);
      found.set(key, figuresOf(window));
    }
    return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Likewise. @throws when one is not closed, or its revision is none that it can have */
  async settledWindows(range: Range): Promise<Map<string, WindowFigures>> {
    for (const window of await this.listAll(range)) {
      const { status, revision, settling } = window;
      const isRight = status === 'closed' ? revision === 1 : status === 'revised' && revision > 1;
      if (!isRight || settling) throw new Error(`${JSON.stringify(window)} is not settled`);
    }
    return this.windows(range);
  }

  /** How many windows of the last two minutes are open, or still gather late events. */
  async unsettled(): Promise<number> {
    const now = Date.now();
    const windows = await this.listAll({ from: now - 120_000, to: now + 60_000 });
    return windows.filter(({ status, settling }) => status === 'open' || settling).length;
  }

  async current(tenant: string, customer: string): Promise<{ hour: CountedSlot; day: CountedSlot }> {
    const path = `/usage/current?${new URLSearchParams({ customerId: customer })}`;
    const { hour, day } = await this.get<{ hour: SlotView; day: SlotView }>(path, tenant);
    return { hour: countedOf(hour), day: countedOf(day) };
  }

  private async listAll(range: Range): Promise<WindowView[]> {
    const all: WindowView[] = [];
    for (const [tenant, customer] of this.pairs()) all.push(...(await this.list(tenant, customer, range)));
    return all;
  }

  private async list(tenant: string, customer: string, { from, to }: Range): Promise<WindowView[]> {
    const windows: WindowView[] = [];
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams({
        customerId: customer,
        from: new Date(from).toISOString(),
        to: new Date(to).toISOString(),
        limit: String(PAGE_WINDOWS),
        ...(cursor === null ? {} : { cursor }),
      });
      const page: Page = await this.get<Page>(`/usage/windows?${query}`, tenant);
      windows.push(...page.windows);
      cursor = page.nextCursor;
    } while (cursor !== null);
    return windows;
  }

  private async get<Body>(path: string, tenant: string): Promise<Body> {
    const response = await fetch(this.url + path, { headers: { 'x-tenant-id': tenant } });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`GET ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as Body;
  }

  private pairs(): (readonly [tenant: string, customer: string])[] {
    return this.tenants.flatMap((tenant) => this.customers.map((customer) => [tenant, customer] as const));
  }
}

function figuresOf({ aggregations }: WindowView): WindowFigures {
  return {
    calls: aggregations.totalCalls,
    tokens: aggregations.totalTokens,
    inputTokens: aggregations.totalInputTokens,
    outputTokens: aggregations.totalOutputTokens,
    avgLatencyMs: aggregations.avgLatencyMs,
    endpoints: named(aggregations.byEndpoint),
    models: named(aggregations.byModel),
  };
}

function countedOf({ start, calls, tokens, byEndpoint, byModel }: SlotView): CountedSlot {
  return {
    start: Date.parse(start),
    figures: { calls, tokens, endpoints: named(byEndpoint), models: named(byModel) },
  };
}

/** Entries, not keys that are looked up: `__proto__` is among the names. */
function named(view: NamedView): NamedFigures[] {
  return sortedByName(
    Object.entries(view).map(([name, { calls, tokens }]): NamedFigures => [name, calls, tokens]),
  );
}
