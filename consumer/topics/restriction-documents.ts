import { subjectOf } from '../../rules/restrictions/subject.js';
import { PARTITION_DOCUMENT, userDocument } from '../../shared/keys.js';
import { NEW_PARTITION, type PartitionState } from '../../shared/state/partition-state.js';
import { NEW_USER, type UserState } from '../../shared/state/user-state.js';
import type { Document, FoldResult, ReadDocument } from '../engine/processor.js';

type Write = FoldResult['writes'][number];

/** The document of a member of a rule's index. */
export function documentOf(member: string): string {
  const { tenant, userId } = subjectOf(member);
  return userDocument(tenant, userId);
}

export function userIn(read: ReadDocument, name: string): UserState {
  return (read(name) as UserState | null) ?? NEW_USER;
}

export function partitionIn(read: ReadDocument): PartitionState {
  return (read(PARTITION_DOCUMENT) as PartitionState | null) ?? NEW_PARTITION;
}

/** Nothing where nothing changed; a user of whom nothing is left to know is deleted. */
export function userWrite(name: string, before: UserState, after: UserState): readonly Write[] {
  if (after === before) return [];
  const isBlank = !after.known && after.overrides.length === 0 && after.restrictions.length === 0;
  const document: Document | null = isBlank ? null : after;
  return [[name, document]];
}

export function partitionWrite(before: PartitionState, after: PartitionState): readonly Write[] {
  return after === before ? [] : [[PARTITION_DOCUMENT, after]];
}
