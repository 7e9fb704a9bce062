import { type Catalog, compileCatalog } from '../../rules/restrictions/compile-catalog.js';
import {
  type Answers,
  type Context,
  type Folded,
  type RuleReservation,
  restrictedIndex,
} from '../../rules/restrictions/draft.js';
import { foldControl } from '../../rules/restrictions/fold-control.js';
import { foldEvent } from '../../rules/restrictions/fold-event.js';
import { foldOverrideDelete, foldOverridePut } from '../../rules/restrictions/fold-override.js';
import { foldRollback, ROLLBACK_STEP_MAX, rollbackOf } from '../../rules/restrictions/fold-rollback.js';
import { foldExpiry, foldOverrideExpiry } from '../../rules/restrictions/fold-timer.js';
import type { Rule } from '../../rules/restrictions/rule.js';
import { parseTimer } from '../../rules/restrictions/timer-id.js';
import { PARTITION_DOCUMENT, userDocument } from '../../shared/keys.js';
import type { DueTimer, Message } from '../../shared/messages/message.js';
import type { PartitionState } from '../../shared/state/partition-state.js';
import { decodePartition, decodeUser, encodePartition, encodeUser } from '../../shared/state/state-codec.js';
import type { UserState } from '../../shared/state/user-state.js';
import { DEFAULT_TENANT } from '../../shared/topics.js';
import type {
  Document,
  Facts,
  FoldResult,
  IndexRange,
  Input,
  Processor,
  ReadDocument,
  Reservation,
} from '../engine/processor.js';
import { askTripwires, type TripwireAccess } from '../tripwire/ask-tripwires.js';
import { documentOf, partitionIn, partitionWrite, userIn, userWrite } from './restriction-documents.js';

export interface RestrictionsOptions extends TripwireAccess {
  readonly rules: readonly Rule[];
}

/** Plugs the restrictions (rules/restrictions) into the engine: the topic `events`. */
export class Restrictions implements Processor {
  readonly topic = 'events';
  readonly pinned = [PARTITION_DOCUMENT];
  private readonly catalog: Catalog;

  /** @throws an Error that names every defect of the rules */
  constructor(private readonly options: RestrictionsOptions) {
    this.catalog = compileCatalog(options.rules);
  }

  decode(name: string, text: string): UserState | PartitionState {
    return name === PARTITION_DOCUMENT ? decodePartition(text) : decodeUser(text);
  }

  encode(name: string, document: Document): string {
    return name === PARTITION_DOCUMENT
      ? encodePartition(document as PartitionState)
      : encodeUser(document as UserState);
  }

  foldsAlone(message: Message): boolean {
    return message.type === 'control';
  }

  /** Only the steps of a rollback find their users by an index. */
  range(input: Input, read: ReadDocument): IndexRange | undefined {
    if (input.kind === 'message') return undefined;
    const timer = parseTimer(input.timer.id);
    const rollback = timer.kind === 'rollback' ? rollbackOf(partitionIn(read), timer.control) : undefined;
    if (rollback === undefined) return undefined;
    return { index: restrictedIndex(rollback.rule), scoreMin: rollback.since, limit: ROLLBACK_STEP_MAX };
  }

  documents(input: Input, members: readonly string[]): readonly string[] {
    if (input.kind === 'message') {
      const { message } = input;
      if (this.foldsAlone(message)) return this.pinned;
      return [userDocument(message.tenant ?? DEFAULT_TENANT, message.subject), PARTITION_DOCUMENT];
    }
    const timer = parseTimer(input.timer.id);
    if (timer.kind === 'rollback') return [PARTITION_DOCUMENT, ...members.map(documentOf)];
    return [userDocument(timer.subject.tenant, timer.subject.userId), PARTITION_DOCUMENT];
  }

  fold(input: Input, read: ReadDocument, facts: Facts, members: readonly string[]): FoldResult {
    return input.kind === 'message'
      ? this.foldMessage(input.message, input.at, read, facts)
      : this.foldTimer(input.timer, input.at, read, facts, members);
  }

  private foldMessage(message: Message, at: number, read: ReadDocument, answers: Answers): FoldResult {
    const partition = partitionIn(read);
    if (message.type === 'control') {
      const folded = foldControl(partition, message, this.catalog, at);
      return { writes: partitionWrite(partition, folded.partition), effects: folded.effects };
    }
    const { subject: userId, tenant = DEFAULT_TENANT, id } = message;
    const document = userDocument(tenant, userId);
    const user = userIn(read, document);
    const context: Context = { tenant, userId, catalog: this.catalog, answers, at, message: id };
    const folded = foldFor(message.type)(user, partition, message, context);
    return resultOf(document, user, partition, folded);
  }

  private foldTimer(
    { id, dueAt }: DueTimer,
    at: number,
    read: ReadDocument,
    answers: Answers,
    members: readonly string[],
  ): FoldResult {
    const timer = parseTimer(id);
    const partition = partitionIn(read);
    if (timer.kind === 'rollback') return this.foldRollbackStep(timer.control, partition, at, read, members);
    const document = userDocument(timer.subject.tenant, timer.subject.userId);
    const user = userIn(read, document);
    const context: Context = { ...timer.subject, catalog: this.catalog, answers, at, message: null };
    const folded =
      timer.kind === 'expire'
        ? foldExpiry(user, partition, timer.rule, dueAt, context)
        : foldOverrideExpiry(user, partition, timer.feature, dueAt, context);
    return resultOf(document, user, partition, folded);
  }

  private foldRollbackStep(
    control: string,
    partition: PartitionState,
    at: number,
    read: ReadDocument,
    members: readonly string[],
  ): FoldResult {
    const states = members.map((member) => [member, read(documentOf(member)) as UserState | null] as const);
    const folded = foldRollback(partition, control, states, this.catalog, at);
    return {
      writes: [
        ...folded.users.map(([member, user]) => [documentOf(member), user] as const),
        ...partitionWrite(partition, folded.partition),
      ],
      effects: folded.effects,
    };
  }

  appliedControls(read: ReadDocument): readonly string[] {
    return partitionIn(read).controls;
  }

  /** Asks each rule's tripwire for all users of the batch, in their order. */
  reserve(reservations: readonly Reservation[], read: ReadDocument): Promise<Facts> {
    // The engine hands back the reservations that the folds made.
    return askTripwires(
      reservations as readonly RuleReservation[],
      partitionIn(read),
      this.catalog,
      this.options,
    );
  }
}

function foldFor(type: string): typeof foldEvent {
  switch (type) {
    case 'override_put':
      return foldOverridePut;
    case 'override_delete':
      return foldOverrideDelete;
    default:
      return foldEvent;
  }
}

function resultOf(document: string, user: UserState, partition: PartitionState, folded: Folded): FoldResult {
  const { effects, reservations } = folded;
  const writes = [...userWrite(document, user, folded.user), ...partitionWrite(partition, folded.partition)];
  return reservations.length === 0 ? { writes, effects } : { writes, effects, reservations };
}
