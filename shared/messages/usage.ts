/**
 * Usage messages: topic `usage`, subject = customer, tenant always present.
 *
 * | type       | written by | data |
 * |------------|------------|------|
 * | `usage`    | the API    | `UsageData` |
 * | `archived` | the archive's acknowledgement (same script) | `ArchivedData`; subject `''`, no tenant |
 */
export const USAGE = 'usage';
export const ARCHIVED = 'archived';

/**
 * What was used, as an array because it is written and read hundreds of thousands of times a second:
 * endpoint, tokens, input tokens, output tokens, model (null: none), latency in microseconds (null: none), and the
 * fields of `metadata` weir does not know, where there are some.
 * The event's own time is the message's `timestamp`.
 */
export type UsageData = readonly [
  endpoint: string,
  tokens: number,
  inputTokens: number,
  outputTokens: number,
  model: string | null,
  latencyUs: number | null,
  extra?: Readonly<Record<string, unknown>>,
];

/** The archive holds every emission of this partition up to and including `upTo`. */
export interface ArchivedData {
  readonly upTo: number;
}

/** Most that one event may say of tokens: sums of a day stay exact integers. */
export const TOKENS_MAX = 1_000_000_000;
/** A day. */
export const LATENCY_MS_MAX = 86_400_000;
export const ENDPOINT_CHARACTERS_MAX = 512;
export const MODEL_CHARACTERS_MAX = 128;
/** Of a message's `source`. */
export const SOURCE_CHARACTERS_MAX = 512;
/** An event may lie this far in the future (the producer's clock may be wrong). */
export const FUTURE_MS_MAX = 3_600_000;
/** Where dimensions beyond WINDOW_DIMENSIONS_MAX are counted. */
export const OTHER = '__other__';
