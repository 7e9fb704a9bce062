import { appendRefusal } from '../append-refusal.js';
import type { Slot } from '../slots.js';
import type { IngestDependencies } from './ingest-dependencies.js';

/** A valid message that is ready to be appended. */
export interface IngestMessage {
  readonly slot: Slot;
  /** Dedupe id, as the caller hears of it. */
  readonly id: string;
  /** The message (see Message) as JSON. */
  readonly text: string;
}

/** Appends one message: it is in the stream when this returns. @throws Refusal when it is not; StoreUnavailable */
export async function appendOne(
  { appender, sampler, gate }: IngestDependencies,
  { slot, text }: IngestMessage,
): Promise<void> {
  gate.pass();
  const outcome = await appender.append(slot.keys, text);
  if (outcome.kind !== 'appended') throw appendRefusal(outcome, slot, sampler);
}
