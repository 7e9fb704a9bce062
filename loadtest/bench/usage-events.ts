import type { UsageData } from '../../shared/messages/usage.js';

/** What a usage event says, with the fields of the contract's example. */
export interface UsageSample {
  readonly apiEndpoint: string;
  readonly metadata: {
    readonly tokens: number;
    readonly model: string;
    readonly latencyMs: number;
    readonly inputTokens: number;
    readonly outputTokens: number;
  };
}

/** Latencies are log-normal: half of them below this, two thirds within a factor of e^SPREAD. */
const LATENCY_MS_MEDIAN = 300;
const LATENCY_SPREAD = 0.5;
/** Multiples of these are spread evenly over [0, 1), and repeat in every run. */
const GOLDEN = 0.618033988749895;
const PLASTIC = 0.7548776662466927;

/** The event of this index of a kind of usage with so many endpoints and models. */
export function usageSample(index: number, endpoints: number, models: number): UsageSample {
  const inputTokens = 100 + ((index * 37) % 900);
  const outputTokens = (index * 53) % 1500;
  return {
    apiEndpoint: `/api/v1/${String(index % endpoints).padStart(2, '0')}/completion`,
    metadata: {
      tokens: inputTokens + outputTokens,
      model: `gpt-4o-mini-${String(Math.floor(index / 3) % models).padStart(2, '0')}`,
      latencyMs: latencyMs(index),
      inputTokens,
      outputTokens,
    },
  };
}

/** The same as the API puts it into the stream. */
export function usageData({ apiEndpoint, metadata }: UsageSample): UsageData {
  const { tokens, inputTokens, outputTokens, model, latencyMs } = metadata;
  return [apiEndpoint, tokens, inputTokens, outputTokens, model, latencyMs * 1000];
}

/** Whole ms. */
function latencyMs(index: number): number {
  const u = ((index + 1) * GOLDEN) % 1;
  const v = ((index + 1) * PLASTIC) % 1;
  const normal = Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v);
  return Math.max(1, Math.round(LATENCY_MS_MEDIAN * Math.exp(LATENCY_SPREAD * normal)));
}
