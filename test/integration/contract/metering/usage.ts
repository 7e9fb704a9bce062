import { nanoid } from 'nanoid';

export interface PostedMetadata {
  readonly tokens?: number;
  readonly model?: string;
  readonly latencyMs?: number;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly [extra: string]: unknown;
}

/** A usage event, as the contract writes it. */
export interface PostedUsage {
  readonly eventId: string;
  /** ISO 8601. */
  readonly timestamp: string;
  readonly tenantId: string;
  readonly customerId: string;
  readonly apiEndpoint: string;
  readonly metadata: PostedMetadata;
}

export const TENANT = 'acme';
export const COMPLETION = '/api/completion';
export const EMBEDDING = '/api/embedding';

export const iso = (ms: number): string => new Date(ms).toISOString();

/** One call of 10 tokens at this moment, unless `more` says otherwise. */
export function usage(customerId: string, more: Partial<PostedUsage> = {}): PostedUsage {
  return {
    eventId: nanoid(),
    timestamp: iso(Date.now()),
    tenantId: TENANT,
    customerId,
    apiEndpoint: COMPLETION,
    metadata: { tokens: 10 },
    ...more,
  };
}

/** Many at once. */
export function usages(count: number, customerId: string, more: Partial<PostedUsage> = {}): PostedUsage[] {
  return Array.from({ length: count }, () => usage(customerId, more));
}
