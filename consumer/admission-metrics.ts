import { Counter, type Registry } from 'prom-client';
import type { AdmissionCountEffect } from '../shared/effects.js';
import { PRIORITIES } from '../shared/state/budget-config.js';

type Metric = AdmissionCountEffect['metric'];

const DECISIONS = {
  admission_allow: 'allow',
  admission_allow_degraded: 'allow_degraded',
  admission_reject: 'reject',
} as const satisfies Partial<Record<Metric, string>>;

const EVENTS = {
  admission_retry: 'retry',
  admission_conflict: 'conflict',
  admission_settled: 'settled',
  admission_cancelled: 'cancelled',
  admission_expired: 'expired',
  admission_late_settle: 'late_settle',
  admission_failed_open: 'failed_open',
} as const satisfies Partial<Record<Metric, string>>;

const TOKENS = {
  granted_tokens: 'granted',
  overrun_tokens: 'overrun',
  failed_open_tokens: 'failed_open',
} as const satisfies Partial<Record<Metric, string>>;

/** What a worker's folds of budgets amount to. Counted when a commit is confirmed. */
export class AdmissionMetrics {
  private readonly decisions: Counter;
  private readonly events: Counter;
  private readonly tokens: Counter;
  private readonly resets: Counter;

  constructor(registry: Registry) {
    const counter = (name: string, help: string, labelNames: string[]) =>
      new Counter({ name, help, labelNames, registers: [registry] });
    this.decisions = counter('weir_admissions_total', 'Admissions decided.', ['decision', 'priority']);
    this.events = counter(
      'weir_admission_events_total',
      'What became of admissions: `retry` counts identical requests (a storm shows here), `conflict` the same id with another body.',
      ['event'],
    );
    this.tokens = counter('weir_budget_tokens_total', 'Tokens granted, overrun, given by failing open.', [
      'kind',
    ]);
    this.resets = counter('weir_budget_resets_total', 'Budget windows that ended.', []);
    for (const decision of Object.values(DECISIONS))
      for (const priority of PRIORITIES) this.decisions.inc({ decision, priority }, 0);
    for (const event of Object.values(EVENTS)) this.events.inc({ event }, 0);
    for (const kind of Object.values(TOKENS)) this.tokens.inc({ kind }, 0);
  }

  count({ metric, by = 1, priority }: AdmissionCountEffect): void {
    if (metric === 'budget_resets') this.resets.inc(by);
    else if (metric in DECISIONS)
      this.decisions.inc(
        { decision: DECISIONS[metric as keyof typeof DECISIONS], priority: priority ?? '' },
        by,
      );
    else if (metric in EVENTS) this.events.inc({ event: EVENTS[metric as keyof typeof EVENTS] }, by);
    else this.tokens.inc({ kind: TOKENS[metric as keyof typeof TOKENS] }, by);
  }
}
