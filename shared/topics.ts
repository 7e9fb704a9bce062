import { crc32 } from 'node:zlib';

/** The topics this version serves. Each has `PARTITIONS` partitions of its own. */
export const TOPICS = ['events', 'usage', 'admissions'] as const;
export type Topic = (typeof TOPICS)[number];

/** Topics whose raw messages go to Postgres too: their streams are trimmed only when the archive has them. */
const ARCHIVED: ReadonlySet<Topic> = new Set<Topic>(['usage']);

export function isArchived(topic: Topic): boolean {
  return ARCHIVED.has(topic);
}

/** The tenant of every message of a topic that has no tenants of its own. */
export const DEFAULT_TENANT = 'default';

export interface Partition {
  readonly topic: Topic;
  readonly index: number;
}

/** `events.3`: how a partition is called in logs, metrics, dead letter ids and hash tags. */
export function partitionName(partition: Partition): string {
  return `${partition.topic}.${partition.index}`;
}

/** All partitions of all topics, in a fixed order that every process agrees on. */
export function allPartitions(partitionsPerTopic: number): Partition[] {
  return TOPICS.flatMap((topic) =>
    Array.from({ length: partitionsPerTopic }, (_, index) => ({ topic, index })),
  );
}

/**
 * The partition index of a subject. NUL separates the parts because neither a tenant nor an id may contain it
 * (the API refuses it), so that two different pairs never hash as the same text.
 */
export function partitionOf(tenant: string, subject: string, partitionsPerTopic: number): number {
  return crc32(`${tenant}\0${subject}`) % partitionsPerTopic;
}
