import { Counter, Histogram, type Registry } from 'prom-client';

/** What a process sees of the named locks it uses. Label `name`: names are given by code, so there are few. */
export class LockMetrics {
  private readonly acquiredTotal: Counter;
  private readonly contendedTotal: Counter;
  private readonly timeoutsTotal: Counter;
  private readonly lostTotal: Counter;
  private readonly waitSeconds: Histogram;
  private readonly holdSeconds: Histogram;

  constructor(registry: Registry) {
    const counter = (name: string, help: string) =>
      new Counter({ name, help, labelNames: ['name'], registers: [registry] });
    this.acquiredTotal = counter('weir_lock_acquired_total', 'Named locks acquired.');
    this.contendedTotal = counter('weir_lock_contended_total', 'Acquisitions that found the lock held.');
    this.timeoutsTotal = counter('weir_lock_timeouts_total', 'Acquisitions given up after their wait.');
    this.lostTotal = counter('weir_lock_lost_total', 'Locks lost while they were held.');
    this.waitSeconds = new Histogram({
      name: 'weir_lock_wait_seconds',
      help: 'Time from asking for a lock to having it.',
      labelNames: ['name'],
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60],
      registers: [registry],
    });
    this.holdSeconds = new Histogram({
      name: 'weir_lock_hold_seconds',
      help: 'Time from having a lock to giving it up or losing it.',
      labelNames: ['name'],
      buckets: [0.001, 0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900],
      registers: [registry],
    });
  }

  /** Makes the metrics of a name exist at 0. */
  expect(name: string): void {
    for (const counter of [this.acquiredTotal, this.contendedTotal, this.timeoutsTotal, this.lostTotal]) {
      counter.inc({ name }, 0);
    }
    for (const histogram of [this.waitSeconds, this.holdSeconds]) histogram.zero({ name });
  }

  acquired(name: string, waitedMs: number): void {
    this.acquiredTotal.inc({ name });
    this.waitSeconds.observe({ name }, waitedMs / 1000);
  }

  contended(name: string): void {
    this.contendedTotal.inc({ name });
  }

  timedOut(name: string): void {
    this.timeoutsTotal.inc({ name });
  }

  ended(name: string, heldMs: number, lost: boolean): void {
    this.holdSeconds.observe({ name }, heldMs / 1000);
    if (lost) this.lostTotal.inc({ name });
  }
}
