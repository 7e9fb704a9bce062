import { Counter, Gauge, type Registry } from 'prom-client';
import { UNDECIDED_REASONS, type UndecidedReason } from './ask-worker.js';

const ANSWERS = ['allow', 'refuse'] as const;
export type UndecidedAnswer = (typeof ANSWERS)[number];

/** What becomes of requests that nobody decided. */
export class AdmissionMetrics {
  private readonly undecided: Counter;
  private readonly tokens: Counter;

  constructor(private readonly registry: Registry) {
    const registers = [registry];
    this.undecided = new Counter({
      name: 'weir_undecided_total',
      help: 'Admission requests that no worker decided in time, by reason and by what was answered.',
      labelNames: ['reason', 'answer'],
      registers,
    });
    for (const reason of UNDECIDED_REASONS) {
      for (const answer of ANSWERS) this.undecided.inc({ reason, answer }, 0);
    }
    this.tokens = new Counter({
      name: 'weir_fail_open_tokens_total',
      help: 'Tokens admitted undecided by this process.',
      registers,
    });
  }

  countUndecided(reason: UndecidedReason, answer: UndecidedAnswer): void {
    this.undecided.inc({ reason, answer });
  }

  countTokens(tokens: number): void {
    this.tokens.inc(tokens);
  }

  watchUnreported(count: () => number): void {
    new Gauge({
      name: 'weir_fail_open_unreported',
      help: 'Reports about undecided admissions that are not in the stream yet.',
      registers: [this.registry],
      collect() {
        this.set(count());
      },
    });
  }
}
