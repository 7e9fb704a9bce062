import { type ArchivePosition, msOf } from './archive-snapshot.js';
import type { PartitionSpan, RowCursor, SpanGroup } from './find-windows.js';

/** How far a partition has been looked through. */
export interface Verified {
  /** Events accepted up to this ms. */
  readonly ms: number;
  /** The archive's position then. */
  readonly stream: string;
  readonly outbox: string;
  /** Nothing was left to be looked at again: until the archive moves there is no need to. */
  readonly calm: boolean;
  /** Where the next run goes on looking again; absent: the last one was of an older version. */
  readonly again?: Pass | undefined;
}

/**
 * One walk through what is to be looked at again, because it was open when it was new. A run that has no time for all of
 * it leaves the rest to the next; the walk after it begins before where this one began, so nothing is skipped however
 * much there is.
 */
export interface Pass {
  /** Events accepted up to this ms were looked at again, */
  readonly ms: number;
  /** and closed windows up to this row. */
  readonly row: RowCursor;
  /** Absent: no run has begun it. */
  readonly begun?: PassBegin | undefined;
}

interface PassBegin {
  /** Up to which events had been looked through then: where the pass ends. */
  readonly ms: number;
  /** The archive's position then. */
  readonly stream: string;
  readonly outbox: string;
  /** Something on the way could not be compared. */
  readonly unproven: boolean;
}

/** What a run has to look at in one partition. */
export interface PartitionPlan {
  readonly partition: number;
  readonly position: ArchivePosition;
  readonly positionMs: number;
  /** Events after this and up to `toMs` are new. */
  readonly knownMs: number;
  readonly toMs: number;
  readonly again: Pass;
  /** Events up to this are to be looked at again. */
  readonly againToMs: number;
}

export interface SpanLimits {
  /** A pass goes back by so much: windows that were open then have closed or been revised meanwhile. */
  readonly overlapMs: number;
  /** From the begin of a window until it closes. */
  readonly closingMs: number;
  /** Where nothing is known of the last time. */
  readonly firstLookMs: number;
  /** Longest span of one run; the rest is for the next. */
  readonly spanMsMax: number;
}

/**
 * What a run has to look at: of each partition the events between where the last run ended and where the archive is now,
 * and again some before.
 */
export function recentPlans(
  positions: ReadonlyMap<number, ArchivePosition>,
  verified: ReadonlyMap<number, Verified>,
  limits: SpanLimits,
): PartitionPlan[] {
  const plans: PartitionPlan[] = [];
  for (const [partition, position] of positions) {
    const before = verified.get(partition);
    const isSame = before?.stream === position.stream && before.outbox === position.outbox;
    if (!isSame || !before.calm) plans.push(planOf(partition, position, before, limits));
  }
  return plans;
}

function planOf(
  partition: number,
  position: ArchivePosition,
  before: Verified | undefined,
  limits: SpanLimits,
): PartitionPlan {
  const positionMs = msOf(position.stream);
  // A Redis that began anew, or a database that was restored, may be behind what was verified.
  const knownMs = Math.max(0, Math.min(before?.ms ?? positionMs - limits.firstLookMs, positionMs));
  const isBehind = before !== undefined && before.ms > knownMs;
  const again = (isBehind ? undefined : before?.again) ?? passBefore(knownMs, limits);
  return {
    ...{ partition, position, positionMs, knownMs, again },
    toMs: Math.min(positionMs, knownMs + limits.spanMsMax),
    againToMs: again.begun?.ms ?? knownMs,
  };
}

/** The pass that follows when everything up to `ms` was looked at. */
export function passBefore(ms: number, { overlapMs, closingMs }: SpanLimits): Pass {
  const fromMs = ms - overlapMs;
  return { ms: fromMs, row: { start: fromMs - closingMs, id: 0 } };
}

/** Up to which ms everything was looked at that is to be looked at, and as often. */
export function provenMs({ ms, again }: Verified, { overlapMs, closingMs }: SpanLimits): number {
  if (again === undefined) return ms;
  return Math.min(ms, again.ms + overlapMs, again.row.start + overlapMs + closingMs);
}

/**
 * Throws spans together where they overlap: one range of usage_events serves them all. A partition in which nothing
 * happens keeps its short span at its old place, so they are not thrown together but there. The oldest comes first.
 */
export function groupSpans(spans: readonly PartitionSpan[]): SpanGroup[] {
  const groups: SpanGroup[] = [];
  const sorted = spans.filter(({ fromMs, toMs }) => fromMs < toMs).sort((a, b) => a.fromMs - b.fromMs);
  for (const span of sorted) {
    const last = groups.at(-1);
    if (last === undefined || span.fromMs > last.toMs) {
      groups.push({ fromMs: span.fromMs, toMs: span.toMs, partitions: [span] });
    } else {
      const toMs = Math.max(last.toMs, span.toMs);
      groups[groups.length - 1] = { ...last, toMs, partitions: [...last.partitions, span] };
    }
  }
  return groups;
}
