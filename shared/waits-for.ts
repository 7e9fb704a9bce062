/** Why a partition waits, as its owner notes it in the head: nothing may be dropped, and nothing may grow without bound. */
export const WAITS_FOR = {
  dead_letters_full: 'dead letters are full: replay or delete some',
  outbox_full: 'the outbox is full: its sinks are behind',
} as const;

export type WaitsFor = keyof typeof WAITS_FOR;
