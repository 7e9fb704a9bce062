import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { isAdmissionCount, RULE_COUNTS, type UsageCountEffect } from '../shared/effects.js';
import { AdmissionMetrics } from './admission-metrics.js';
import type { StepOutcome } from './engine/fold-step.js';
import type { PartitionSight } from './engine/housekeep.js';
import { RUN_ENDS } from './engine/run-end.js';
import type { ArchiveMetrics } from './sinks/postgres-archive.js';

/** Metrics of a worker process. Counts are added when a commit is confirmed, never before. */
export class ConsumerMetrics {
  private readonly backlog: Gauge;
  private readonly oldestAge: Gauge;
  private readonly outbox: Gauge;
  private readonly deadLettersWaiting: Gauge;
  private readonly remembered: Gauge;
  private readonly waiting: Gauge;
  private readonly sinkStopped: Gauge;
  private readonly liveWorkers: Gauge;
  private readonly batchMessages: Histogram;
  private readonly stepSeconds: Histogram;
  private readonly leaseChanges: Counter;
  private readonly fencedCommits: Counter;
  private readonly messages: Counter;
  private readonly deadLetters: Counter;
  private readonly ruleEvents: Counter;
  private readonly ruleErrors: Counter;
  private readonly trips: Counter;
  private readonly windowCuts: Counter;
  private readonly idleSeconds: Counter;
  private readonly usageCounts: Readonly<Record<UsageCountEffect['metric'], Counter>>;
  private readonly unpublishedReplies: Counter;
  private readonly admissions: AdmissionMetrics;
  private readonly outboxBytes: Gauge;
  private readonly archiveRows: Counter;
  private readonly archiveSeconds: Histogram;
  private readonly archiveProblems: Counter;
  private readonly countsAgain: Counter;

  constructor(
    readonly registry: Registry,
    rules: readonly { readonly name: string }[],
    partitions: readonly string[],
  ) {
    this.admissions = new AdmissionMetrics(registry);
    const gauge = (name: string, help: string, labelNames: string[] = ['partition']) =>
      new Gauge({ name, help, labelNames, registers: [registry] });
    const counter = (name: string, help: string, labelNames: string[] = ['partition']) =>
      new Counter({ name, help, labelNames, registers: [registry] });
    this.backlog = gauge('weir_backlog_messages', 'Messages appended and not folded.');
    this.oldestAge = gauge('weir_oldest_entry_age_seconds', 'Age of the oldest entry that is not folded.');
    this.outbox = gauge('weir_outbox_entries', 'Outbox entries no sink has acknowledged.');
    this.outboxBytes = gauge('weir_outbox_bytes', 'About how much memory the outbox takes in Redis.');
    this.deadLettersWaiting = gauge('weir_dead_letters', 'Dead letters that wait for replay or deletion.');
    this.remembered = gauge('weir_remembered_ids', 'Message ids in the dedupe index.');
    this.waiting = gauge(
      'weir_partition_waiting',
      '1 while a full outbox or full dead letters stop the partition.',
    );
    this.sinkStopped = gauge(
      'weir_sink_stopped',
      '1 while the outbox waits for a newer worker: the next entry is none that this one knows.',
    );
    this.liveWorkers = gauge('weir_workers_live', 'Workers with a recent heartbeat.', []);
    this.batchMessages = new Histogram({
      name: 'weir_batch_messages',
      help: 'Messages per commit.',
      buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000],
      registers: [registry],
    });
    this.stepSeconds = new Histogram({
      name: 'weir_step_seconds',
      help: 'Time from planning a step to its confirmed commit.',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers: [registry],
    });
    this.leaseChanges = counter('weir_lease_changes_total', 'Leases acquired and ended, by why.', [
      'partition',
      'kind',
    ]);
    this.fencedCommits = counter(
      'weir_fenced_total',
      'Runs of a partition ended by a lost lease or a stale head.',
    );
    this.messages = counter('weir_messages_total', 'Messages folded, by what became of them.', ['outcome']);
    this.deadLetters = counter('weir_dead_letters_total', 'Dead letters written.');
    this.ruleEvents = counter('weir_rule_events_total', 'What rules did.', ['rule', 'kind']);
    this.ruleErrors = counter('weir_rule_errors_total', 'Times something of a rule threw.', ['rule']);
    this.trips = counter('weir_tripwire_trips_total', 'Tripwires tripped.', ['rule']);
    this.windowCuts = counter(
      'weir_dedupe_window_cuts_total',
      'Id generations that ended early because they were full.',
    );
    this.idleSeconds = counter('weir_idle_seconds_total', 'Time spent waiting for the doorbell.');
    this.unpublishedReplies = counter(
      'weir_unpublished_replies_total',
      'Replies that Redis refused to publish: who waits for them reads them a moment later.',
      [],
    );
    this.usageCounts = {
      late_events: counter('weir_usage_late_events_total', 'Usage events after their window had closed.', []),
      cold_events: counter(
        'weir_usage_cold_events_total',
        'Usage events after their window had left Redis: the archive counts them.',
        [],
      ),
      other_dimension: counter(
        'weir_usage_other_dimension_total',
        'Times a usage event counted under __other__, because its window had WINDOW_DIMENSIONS_MAX names already.',
        [],
      ),
      windows_closed: counter('weir_windows_closed_total', 'Windows closed.', []),
      windows_revised: counter('weir_windows_revised_total', 'Revisions of closed windows emitted.', []),
    };
    this.archiveRows = counter('weir_archive_rows_total', 'Rows written to Postgres.', ['kind']);
    for (const kind of ['event', 'window', 'correction']) this.archiveRows.inc({ kind }, 0);
    this.archiveSeconds = new Histogram({
      name: 'weir_archive_write_seconds',
      help: 'Time of one transaction of the archive.',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [registry],
    });
    this.archiveProblems = counter(
      'weir_archive_problems_total',
      'Messages missing from the stream, events and windows that Postgres refused, streams on which it and Redis disagree.',
      ['kind'],
    );
    for (const kind of ['missing', 'refused', 'skipped', 'window_refused', 'ahead', 'behind'])
      this.archiveProblems.inc({ kind }, 0);
    this.countsAgain = counter(
      'weir_usage_counted_again_total',
      'Events that counted although their id had counted before: it came back after it was forgotten.',
      [],
    );
    for (const outcome of ['accepted', 'duplicate', 'dead']) this.messages.inc({ outcome }, 0);
    for (const { name } of rules) this.beginRule(name);
    for (const partition of partitions) this.beginPartition(partition);
  }

  /** A counter that is born at 1 has not increased: who watches for the first time would miss it. */
  private beginRule(rule: string): void {
    for (const kind of RULE_COUNTS) this.ruleEvents.inc({ rule, kind }, 0);
    this.ruleErrors.inc({ rule }, 0);
    this.trips.inc({ rule }, 0);
  }

  private beginPartition(partition: string): void {
    for (const kind of ['acquired', ...RUN_ENDS]) this.leaseChanges.inc({ partition, kind }, 0);
    for (const counter of [this.fencedCommits, this.deadLetters, this.windowCuts, this.idleSeconds]) {
      counter.inc({ partition }, 0);
    }
    this.disown(partition);
  }

  /** A partition owned elsewhere is reported there. */
  private disown(partition: string): void {
    for (const gauge of [
      ...[this.waiting, this.backlog, this.oldestAge, this.outbox, this.outboxBytes],
      ...[this.deadLettersWaiting, this.remembered, this.sinkStopped],
    ]) {
      gauge.set({ partition }, 0);
    }
  }

  sawPartition(partition: string, sight: PartitionSight, rememberedIds: number): void {
    this.backlog.set({ partition }, sight.backlogMessages);
    this.oldestAge.set({ partition }, sight.oldestAgeMs / 1000);
    this.outbox.set({ partition }, sight.outboxEntries);
    this.outboxBytes.set({ partition }, sight.outboxBytes);
    this.deadLettersWaiting.set({ partition }, sight.deadLetters);
    this.remembered.set({ partition }, rememberedIds);
  }

  sawWorkers(count: number): void {
    this.liveWorkers.set(count);
  }

  committed(partition: string, outcome: StepOutcome, seconds: number): void {
    this.stepSeconds.observe(seconds);
    this.batchMessages.observe(outcome.messages);
    this.messages.inc({ outcome: 'accepted' }, outcome.accepted);
    if (outcome.duplicates > 0) this.messages.inc({ outcome: 'duplicate' }, outcome.duplicates);
    if (outcome.deadLetters.length > 0) {
      this.messages.inc({ outcome: 'dead' }, outcome.deadLetters.length);
      this.deadLetters.inc({ partition }, outcome.deadLetters.length);
    }
    for (const effect of outcome.effects) {
      if (effect.kind !== 'count') continue;
      if (effect.metric === 'rule_errors') this.ruleErrors.inc({ rule: effect.rule });
      else if ('rule' in effect) this.ruleEvents.inc({ rule: effect.rule, kind: effect.metric });
      else if (isAdmissionCount(effect)) this.admissions.count(effect);
      else this.usageCounts[effect.metric].inc(effect.by ?? 1);
    }
  }

  leaseChanged(partition: string, kind: string): void {
    this.leaseChanges.inc({ partition, kind });
    if (kind !== 'acquired') this.disown(partition);
  }

  fenced(partition: string): void {
    this.fencedCommits.inc({ partition });
  }

  stopped(partition: string, waits: boolean): void {
    this.waiting.set({ partition }, waits ? 1 : 0);
  }

  sinkStops(partition: string, stops: boolean): void {
    this.sinkStopped.set({ partition }, stops ? 1 : 0);
  }

  unpublished(replies: number): void {
    this.unpublishedReplies.inc(replies);
  }

  idled(partition: string, ms: number): void {
    this.idleSeconds.inc({ partition }, ms / 1000);
  }

  dedupeWindowCut(partition: string): void {
    this.windowCuts.inc({ partition });
  }

  tripped(rule: string): void {
    this.trips.inc({ rule });
  }

  /** What the archive reports. */
  readonly archive: ArchiveMetrics = {
    wrote: (rows, windows, seconds) => {
      this.archiveRows.inc({ kind: 'event' }, rows);
      this.archiveRows.inc({ kind: 'window' }, windows);
      this.archiveSeconds.observe(seconds);
    },
    corrected: (windows) => this.archiveRows.inc({ kind: 'correction' }, windows),
    refused: (events) => this.archiveProblems.inc({ kind: 'refused' }, events),
    skipped: (events) => this.archiveProblems.inc({ kind: 'skipped' }, events),
    windowsRefused: (windows) => this.archiveProblems.inc({ kind: 'window_refused' }, windows),
    ahead: () => this.archiveProblems.inc({ kind: 'ahead' }),
    behind: () => this.archiveProblems.inc({ kind: 'behind' }),
  };

  countedAgain(events: number): void {
    this.countsAgain.inc(events);
  }

  archiveMissing(messages: number): void {
    this.archiveProblems.inc({ kind: 'missing' }, messages);
  }

  archiveRefused(partition: string, rows: number): void {
    this.deadLetters.inc({ partition }, rows);
  }
}
