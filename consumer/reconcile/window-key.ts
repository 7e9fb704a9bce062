import { isText } from '../sinks/postgres/customers.js';

/** Which window; the same one in Redis, in `aggregation_windows` and in `usage_events`. */
export interface WindowKey {
  readonly tenant: string;
  /** As the tenant calls it. */
  readonly customer: string;
  /** In Postgres; null: not known. */
  readonly customerId: number | null;
  /** Index of the partition of the topic `usage`. */
  readonly partition: number;
  /** ms since the epoch. */
  readonly start: number;
}

/** A tenant holds no `:`, and the start is a number. */
export function keyText({ tenant, start, customer }: WindowKey): string {
  return `${tenant}:${start}:${customer}`;
}

/** Place of a message in the stream of its partition. */
export interface Place {
  /** `<ms>-<sequence>`. */
  readonly entry: string;
  readonly index: number;
}

/** Before every message. */
export const NOWHERE: Place = { entry: '0-0', index: 0 };

/** For a parameter: null, which no column equals, where Postgres cannot hold the text. */
export function textOrNull(text: string): string | null {
  return isText(text) ? text : null;
}
