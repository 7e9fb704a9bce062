import type { Logger } from '../../shared/logging.js';
import { NewerDocumentError } from '../../shared/state/state-codec.js';
import { NewerEntryError } from './entry-buffer.js';
import { FencedError } from './fenced-error.js';
import { GaveUpError } from './retry.js';

export const RUN_ENDS = [
  /** Asked to stop; the lease was released. */
  'released',
  /** The lease went to somebody else, or the head is not where this owner left it. */
  'lost',
  /** The partition holds data of a newer version. */
  'newer',
  /** An error that repeating would not cure. */
  'failed',
] as const;

/** Why a runner ended; what to do next is its worker's business. */
export type RunEnd = (typeof RUN_ENDS)[number];

/** Why a runner that threw has ended. @param isLost the lease is known to be gone */
export function endOf(error: unknown, isLost: boolean, log: Logger): RunEnd {
  if (error instanceof FencedError) {
    log.warn({ reason: error.message }, 'lease lost');
    return 'lost';
  }
  if (error instanceof GaveUpError) return isLost ? 'lost' : 'released';
  if (error instanceof NewerEntryError || error instanceof NewerDocumentError) {
    log.error({ err: error }, 'partition given to a newer worker');
    return 'newer';
  }
  log.error({ err: error }, 'partition failed');
  return 'failed';
}
