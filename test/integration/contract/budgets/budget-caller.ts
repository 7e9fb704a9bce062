import { expect } from 'chai';
import type { Answer, HttpClient } from '../../../support/http-client.js';

export type Priority = 'P0' | 'P1' | 'P2';

export interface EvaluateView {
  readonly decision: 'ALLOW' | 'ALLOW_DEGRADED' | 'REJECT';
  readonly context: Readonly<Record<string, unknown>>;
}

export interface AdmissionView {
  readonly admission_id: string;
  readonly status: string;
  readonly decision: string;
  readonly granted_tokens: number;
  readonly expires_at: string;
  readonly remaining: Readonly<Record<string, number>>;
  readonly attempts: number;
  readonly [more: string]: unknown;
}

export interface ProblemView {
  readonly code: string;
  readonly retryable?: boolean;
  readonly level?: string;
  readonly [more: string]: unknown;
}

export interface LevelView {
  readonly name: string;
  readonly limit: number;
  readonly settled: number;
  readonly held: number;
  readonly available: Readonly<Record<Priority, number>>;
  readonly soft_limit: number;
  readonly hard_limit: number;
}

export interface BudgetView {
  readonly tenant: string;
  readonly window: { readonly seconds: number; readonly resets_at: string };
  readonly levels: readonly LevelView[];
}

/** Settings with which no window ends while a test looks at it. */
export const LONG_WINDOW = { BUDGET_WINDOW_SECONDS: String(31 * 86_400), HOLD_SECONDS: '3600' } as const;

/** One caller of budgets, of one tenant. */
export class BudgetCaller {
  constructor(
    readonly http: HttpClient,
    readonly tenant?: string,
  ) {}

  send<Body>(method: string, path: string, body?: unknown): Promise<Answer<Body>> {
    const headers: Record<string, string> = this.tenant === undefined ? {} : { 'x-tenant-id': this.tenant };
    return this.http.send<Body>(method, path, body, headers);
  }

  /** The decision; anything but 200 fails the test. */
  async evaluate(
    pipeline: string,
    priority: Priority,
    tokens: number,
    more: object = {},
  ): Promise<EvaluateView> {
    const body = { pipeline, priority, estimated_tokens: tokens, ...more };
    const answer = await this.send<EvaluateView>('POST', '/v1/evaluate', body);
    expect([answer.status, answer.text]).to.deep.equal([200, answer.text]);
    return answer.body;
  }

  async decision(pipeline: string, priority: Priority, tokens: number): Promise<string> {
    return (await this.evaluate(pipeline, priority, tokens)).decision;
  }

  /** Uses tokens of a pipeline, as P0, in requests that are not too large. */
  async use(pipeline: string, tokens: number): Promise<void> {
    for (let left = tokens; left > 0; left -= 100_000) {
      expect(await this.decision(pipeline, 'P0', Math.min(left, 100_000))).to.equal('ALLOW');
    }
  }

  admit(pipeline: string, priority: Priority, tokens: number, more: object = {}) {
    const body = { pipeline, priority, estimated_tokens: tokens, ...more };
    return this.send<AdmissionView & ProblemView>('POST', '/admissions', body);
  }

  settle(id: string, actual: number) {
    return this.send<AdmissionView & ProblemView>('POST', `/admissions/${id}/settle`, {
      actual_tokens: actual,
    });
  }

  cancel(id: string) {
    return this.send<AdmissionView & ProblemView>('POST', `/admissions/${id}/cancel`);
  }

  admission(id: string) {
    return this.send<AdmissionView & ProblemView>('GET', `/admissions/${id}`);
  }

  async budget(pipeline?: string): Promise<BudgetView> {
    const query = pipeline === undefined ? '' : `?pipeline=${encodeURIComponent(pipeline)}`;
    return (await this.send<BudgetView>('GET', `/budget${query}`)).body;
  }

  /** Level → [settled, held]. */
  async used(): Promise<Readonly<Record<string, readonly [number, number]>>> {
    const { levels } = await this.budget();
    return Object.fromEntries(levels.map(({ name, settled, held }) => [name, [settled, held] as const]));
  }
}
