import type { Appender } from '../../shared/append/appender.js';
import type { BacklogSampler } from '../backlog-sampler.js';
import type { BodyReader } from '../http/body.js';
import type { Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';

/** What taking in messages needs, of any topic. */
export interface IngestDependencies {
  readonly bodies: BodyReader;
  readonly appender: Appender;
  readonly slots: Slots;
  readonly sampler: BacklogSampler;
  readonly gate: StoreGate;
}
