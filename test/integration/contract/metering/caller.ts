import { expect } from 'chai';
import type { Answer, HttpClient } from '../../../support/http-client.js';
import { until } from '../../../support/redis-server.js';
import { iso, type PostedUsage, TENANT } from './usage.js';

export interface NamedView {
  readonly calls: number;
  readonly tokens: number;
}

export interface Aggregations {
  readonly totalCalls: number;
  readonly totalTokens: number;
  readonly totalInputTokens: number;
  readonly totalOutputTokens: number;
  readonly avgLatencyMs: number;
  readonly byEndpoint: Readonly<Record<string, NamedView>>;
  readonly byModel: Readonly<Record<string, NamedView>>;
}

export interface WindowView {
  readonly windowStart: string;
  readonly windowEnd: string;
  readonly tenantId: string;
  readonly customerId: string;
  readonly status: 'open' | 'closed' | 'revised';
  readonly revision: number;
  readonly settling: boolean;
  readonly lateEvents: number;
  readonly aggregations: Aggregations;
}

export interface WindowsPage {
  readonly windows: readonly WindowView[];
  readonly watermark: string;
  readonly nextCursor: string | null;
}

interface SlotView extends NamedView {
  readonly start: string;
  readonly end: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly byEndpoint: Readonly<Record<string, NamedView>>;
  readonly byModel: Readonly<Record<string, NamedView>>;
}

export interface Current {
  readonly minute: SlotView;
  readonly hour: SlotView;
  readonly day: SlotView;
}

export interface Receipt {
  readonly eventId: string;
  readonly customerId: string;
  readonly source: string | null;
  readonly tokens: number;
  readonly counted: number;
  readonly counts: readonly { readonly windowStart: string; readonly windowRevision: number }[];
  readonly status: 'accepted' | 'late' | 'dead';
  readonly windowStart: string;
  readonly windowRevision: number;
  readonly duplicates: number;
  readonly archived: true;
}

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

export interface BatchAnswer {
  readonly accepted: number;
  readonly rejected: readonly {
    readonly index: number;
    readonly eventId?: string;
    readonly code: string;
    readonly detail: string;
  }[];
}

/** Longest that a test waits for something to show. */
const PATIENCE_MS = 15_000;

/** A caller of one tenant: what it can tell and ask of usage. Every answer it does not expect fails the test. */
export class Caller {
  constructor(
    private readonly http: HttpClient,
    readonly tenant = TENANT,
  ) {}

  /** As it comes back, whatever the status. */
  get<Body>(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer<Body>> {
    return this.http.send('GET', path, undefined, { 'x-tenant-id': this.tenant, ...headers });
  }

  async post(event: PostedUsage): Promise<void> {
    const { status, body } = await this.http.post('/usage', event);
    expect([status, body]).to.deep.equal([202, { status: 'accepted', eventId: event.eventId }]);
  }

  /** In batches of 1,000, all of which must be accepted. */
  async postAll(events: readonly PostedUsage[]): Promise<void> {
    for (let from = 0; from < events.length; from += 1000) {
      const batch = events.slice(from, from + 1000);
      const { status, body } = await this.http.post('/usage/batch', batch);
      expect([status, body]).to.deep.equal([202, { accepted: batch.length, rejected: [] }]);
    }
  }

  /** One page of windows that start in [from, to), ms. */
  async page(customer: string, from: number, to: number, more: object = {}): Promise<WindowsPage> {
    const { status, body, text } = await this.get<WindowsPage>(windowsPath(customer, from, to, more));
    expect([status, status === 200 ? '' : text]).to.deep.equal([200, '']);
    return body;
  }

  /** All windows of two hours around now. */
  async windows(customer: string): Promise<readonly WindowView[]> {
    const now = Date.now();
    const { windows, nextCursor } = await this.page(customer, now - 3_600_000, now + 3_600_000, {
      limit: 100,
    });
    expect(nextCursor).to.equal(null);
    return windows;
  }

  /** The window that starts at this time, ms. */
  async window(customer: string, start: number): Promise<WindowView | undefined> {
    const { windows } = await this.page(customer, start, start + 1);
    expect(windows.length).to.be.at.most(1);
    return windows[0];
  }

  /** Waits until the window that starts at this time is as asked for. @returns it */
  async windowWhen(
    customer: string,
    start: number,
    what: string,
    condition: (window: WindowView) => boolean,
  ): Promise<WindowView> {
    let seen: WindowView | undefined;
    try {
      await until(PATIENCE_MS, `the window of ${customer} is ${what}`, async () => {
        seen = await this.window(customer, start);
        return seen !== undefined && condition(seen);
      });
    } catch (error) {
      throw new Error(`the window is not ${what}: ${JSON.stringify(seen)}`, { cause: error });
    }
    return seen!;
  }

  async current(customer: string): Promise<Current> {
    const { status, body, text } = await this.get<Current>(
      `/usage/current?${query({ customerId: customer })}`,
    );
    expect([status, status === 200 ? '' : text]).to.deep.equal([200, '']);
    return body;
  }

  /** Waits until the day's calls are these. */
  async counted(customer: string, calls: number): Promise<Current> {
    let seen: Current | undefined;
    await until(PATIENCE_MS, `${calls} calls of ${customer} are counted`, async () => {
      seen = await this.current(customer);
      return seen.day.calls === calls;
    }).catch(() => expect(seen?.day.calls, `calls of ${customer}`).to.equal(calls));
    return seen!;
  }

  receipt(eventId: string, more: object = {}): Promise<Answer<Receipt & Pick<Problem, 'code'>>> {
    return this.get(`/usage/events/${encodeURIComponent(eventId)}?${query(more)}`);
  }

  /** Waits until the receipt is there and as asked for. @returns it */
  async receiptWhen(
    eventId: string,
    condition: (receipt: Receipt) => boolean = () => true,
    more: object = {},
  ): Promise<Receipt> {
    let seen: Answer<Receipt> | undefined;
    await until(PATIENCE_MS, `the receipt of ${eventId}`, async () => {
      seen = await this.receipt(eventId, more);
      return seen.status === 200 && condition(seen.body);
    }).catch((error: Error) => {
      throw new Error(`${error.message}: ${seen?.status} ${seen?.text}`);
    });
    return seen!.body;
  }
}

export function query(parameters: object): string {
  const pairs = Object.entries(parameters).map(([name, value]): [string, string] => [name, String(value)]);
  return new URLSearchParams(pairs).toString();
}

export function windowsPath(customer: string, from: number, to: number, more: object = {}): string {
  return `/usage/windows?${query({ customerId: customer, from: iso(from), to: iso(to), ...more })}`;
}

export function summaryPath(customer: string, from: number, to: number, more: object = {}): string {
  return `/usage/summary?${query({ customerId: customer, from: iso(from), to: iso(to), ...more })}`;
}
