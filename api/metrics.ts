import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { allPartitions, isArchived, partitionName, TOPICS } from '../shared/topics.js';
import type { BacklogSampler } from './backlog-sampler.js';
import type { RefusalCode } from './refusal.js';
import { RequestSeries } from './request-series.js';

/** Refusals that mean: the caller did nothing wrong, we dropped it. */
export const DROP_REASONS = ['backlog_full', 'store_unavailable', 'overloaded', 'undecided'] as const;

/** Route label of requests that match no route: the raw path never becomes a label. */
export const UNMATCHED = 'unmatched';

const MESSAGES_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/**
 * The metrics of the API process, those of the contract and weir's own.
 */
export class ApiMetrics {
  private readonly requests: RequestSeries;
  private readonly dropped: Counter;
  private readonly batchSize: Histogram;

  constructor(readonly registry: Registry) {
    const registers = [registry];
    this.requests = new RequestSeries(registry);
    this.dropped = new Counter({
      name: 'dropped_requests_total',
      help: 'Requests refused because weir could not take them, by reason.',
      labelNames: ['reason'],
      registers,
    });
    for (const reason of DROP_REASONS) this.dropped.inc({ reason }, 0);
    this.batchSize = new Histogram({
      name: 'weir_append_batch_messages',
      help: 'Messages per record batch appended by this process.',
      buckets: MESSAGES_BUCKETS,
      registers,
    });
  }

  /** Makes the counters of a route exist at 0. */
  expect(method: string, route: string, status: number): void {
    this.requests.expect(method, route, status);
  }

  end(method: string, route: string, status: number, seconds: number): void {
    this.requests.record(labelOf(method), route, status, seconds);
  }

  countDropped(code: RefusalCode): void {
    if ((DROP_REASONS as readonly string[]).includes(code)) this.dropped.inc({ reason: code });
  }

  observeBatch(messages: number): void {
    this.batchSize.observe(messages);
  }

  watchInFlight(workedOn: () => number): void {
    new Gauge({
      name: 'in_flight_requests',
      help: 'Requests being worked on. One whose body is not there yet is not.',
      registers: [this.registry],
      collect: gaugeOf(workedOn),
    });
  }

  /** What the sampler knows, as gauges. */
  watch(sampler: BacklogSampler, partitionsPerTopic: number): void {
    const partitions = allPartitions(partitionsPerTopic);
    const registers = [this.registry];
    new Gauge({
      name: 'queue_depth',
      help: 'Messages appended that no worker has folded, per topic.',
      labelNames: ['topic'],
      registers,
      collect() {
        for (const topic of TOPICS) {
          const ofTopic = partitions.filter((partition) => partition.topic === topic);
          this.set(
            { topic },
            ofTopic.reduce((sum, partition) => sum + sampler.backlogOf(partition), 0),
          );
        }
      },
    });
    new Gauge({
      name: 'weir_backlog_messages',
      help: 'Messages appended that no worker has folded, per partition.',
      labelNames: ['partition'],
      registers,
      collect() {
        for (const partition of partitions) {
          this.set({ partition: partitionName(partition) }, sampler.backlogOf(partition));
        }
      },
    });
    new Gauge({
      name: 'weir_archive_backlog_bytes',
      help: 'Bytes of accepted messages that Postgres does not have yet, per partition of an archived topic.',
      labelNames: ['partition'],
      registers,
      collect() {
        for (const partition of partitions) {
          if (!isArchived(partition.topic)) continue;
          this.set({ partition: partitionName(partition) }, sampler.archiveBytesOf(partition));
        }
      },
    });
    new Gauge({
      name: 'weir_drain_messages_per_second',
      help: 'Messages folded per second, per partition (moving average).',
      labelNames: ['partition'],
      registers,
      collect() {
        for (const partition of partitions) {
          this.set({ partition: partitionName(partition) }, sampler.drainRateOf(partition) ?? 0);
        }
      },
    });
    new Gauge({
      name: 'weir_workers_live',
      help: 'Worker processes whose heartbeat is fresh.',
      registers,
      collect: gaugeOf(() => sampler.workersLive),
    });
  }
}

function gaugeOf(value: () => number): (this: Gauge) => void {
  return function collect(this: Gauge) {
    this.set(value());
  };
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']);

/** A bound on label values: methods nobody uses share one label. */
function labelOf(method: string): string {
  return METHODS.has(method) ? method : 'other';
}
