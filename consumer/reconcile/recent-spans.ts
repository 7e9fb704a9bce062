import { type ArchivePosition, msOf } from './archive-snapshot.js';
import type { Span } from './find-windows.js';

/** How far a partition has been looked through. */
export interface Verified {
  /** Events accepted up to this ms. */
  readonly ms: number;
  /** The archive's position then. */
  readonly stream: string;
  readonly outbox: string;
  /** Nothing was left to be looked at again: until the archive moves there is no need to. */
  readonly calm: boolean;
}

/** Part of the stream of one partition. */
export interface PartitionSpan extends Span {
  readonly partition: number;
  readonly position: ArchivePosition;
  /** What is after this ms is new; what is before is looked at again. */
  readonly knownMs: number;
}

/** Spans that overlap: one range of usage_events serves them all. */
export interface SpanGroup extends Span {
  readonly partitions: readonly PartitionSpan[];
}

export interface SpanLimits {
  /** Goes back by so much: windows that were open then have closed or been revised meanwhile. */
  readonly overlapMs: number;
  /** Where nothing is known of the last time. */
  readonly firstLookMs: number;
  /** Longest span of one run; the rest is for the next. */
  readonly spanMsMax: number;
}

/**
 * What a run has to look through: of each partition the events between where the last run ended and where the archive
 * is now, and some before. A partition in which nothing happens keeps its short span at its old place, so the
 * partitions are not thrown together but where they overlap.
 */
export function recentSpans(
  positions: ReadonlyMap<number, ArchivePosition>,
  verified: ReadonlyMap<number, Verified>,
  limits: SpanLimits,
): SpanGroup[] {
  const spans: PartitionSpan[] = [];
  for (const [partition, position] of positions) {
    const span = spanOf(position, verified.get(partition), limits);
    if (span !== undefined) spans.push({ partition, position, ...span });
  }
  spans.sort((a, b) => a.fromMs - b.fromMs);
  const groups: SpanGroup[] = [];
  for (const span of spans) {
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

function spanOf(
  { stream, outbox }: ArchivePosition,
  before: Verified | undefined,
  { overlapMs, firstLookMs, spanMsMax }: SpanLimits,
): (Span & { readonly knownMs: number }) | undefined {
  const positionMs = msOf(stream);
  if (before?.calm && before.stream === stream && before.outbox === outbox) return undefined;
  // A Redis that began anew, or a database that was restored, may be behind what was verified.
  const knownMs = Math.max(0, Math.min(before?.ms ?? positionMs - firstLookMs, positionMs));
  const fromMs = Math.max(0, knownMs - overlapMs);
  return { fromMs, knownMs, toMs: Math.min(positionMs, knownMs + spanMsMax) };
}
