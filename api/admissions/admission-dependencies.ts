import type { BodyReader } from '../http/body.js';
import type { Slots } from '../slots.js';
import type { DecideDependencies } from './decide.js';

export interface AdmissionDependencies extends DecideDependencies {
  readonly slots: Slots;
  readonly bodies: BodyReader;
  /** How long the workers know an admission that has ended at least, ms. */
  readonly keptMs: number;
  /** EVALUATE_DEDUPE_MS; 0: off. */
  readonly evaluateDedupeMs: number;
}
