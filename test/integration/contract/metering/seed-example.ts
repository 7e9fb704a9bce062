import type { Aggregations } from './caller.js';
import { COMPLETION, EMBEDDING, iso, type PostedUsage, usage } from './usage.js';

/** The figures of the window that the whole of metering was asked for with. */
export const EXAMPLE: Aggregations = {
  totalCalls: 1543,
  totalTokens: 234_567,
  totalInputTokens: 78_901,
  totalOutputTokens: 155_666,
  avgLatencyMs: 245,
  byEndpoint: {
    '/api/completion': { calls: 1200, tokens: 180_000 },
    '/api/embedding': { calls: 343, tokens: 54_567 },
  },
  byModel: {
    'gpt-4': { calls: 800, tokens: 150_000 },
    'gpt-3.5-turbo': { calls: 743, tokens: 84_567 },
  },
};

/** Calls, tokens and input tokens of one endpoint and model. */
interface Part {
  readonly endpoint: string;
  readonly model: string;
  readonly calls: number;
  readonly tokens: number;
  readonly inputTokens: number;
}

/** The parts sum up to the figures by endpoint and by model, and their input tokens to the total. */
const PARTS: readonly Part[] = [
  { endpoint: COMPLETION, model: 'gpt-4', calls: 700, tokens: 130_000, inputTokens: 43_000 },
  { endpoint: COMPLETION, model: 'gpt-3.5-turbo', calls: 500, tokens: 50_000, inputTokens: 17_000 },
  { endpoint: EMBEDDING, model: 'gpt-4', calls: 100, tokens: 20_000, inputTokens: 7_000 },
  { endpoint: EMBEDDING, model: 'gpt-3.5-turbo', calls: 243, tokens: 34_567, inputTokens: 11_901 },
];

/**
 * 1,543 events of one window that sum up to the example: no two calls alike, in no order, the first and the last
 * instant of the window among them.
 */
export function exampleEvents(customer: string, windowStart: number, windowMs: number): PostedUsage[] {
  const calls = PARTS.flatMap((part) => callsOf(part));
  return calls.map((metadata, i) => {
    const { endpoint, ...known } = metadata;
    const offset = i === calls.length - 1 ? windowMs - 1 : Math.floor((i * 7919) % windowMs);
    return usage(customer, {
      timestamp: iso(windowStart + (i === 0 ? 0 : offset)),
      apiEndpoint: endpoint,
      metadata: { ...known, latencyMs: latencyOf(i, calls.length) },
    });
  });
}

function callsOf({ endpoint, model, calls, tokens, inputTokens }: Part) {
  const share = (total: number, i: number) =>
    Math.floor((total * (i + 1)) / calls) - Math.floor((total * i) / calls);
  return Array.from({ length: calls }, (_, i) => {
    const all = share(tokens, i);
    const input = share(inputTokens, i);
    return { endpoint, model, tokens: all, inputTokens: input, outputTokens: all - input };
  });
}

/** Pairs around 245 ms, and 245 ms for the one that is left over. */
function latencyOf(i: number, count: number): number {
  if (i === count - 1 && count % 2 === 1) return 245;
  const distance = ((i >> 1) % 200) + 0.125;
  return i % 2 === 0 ? 245 - distance : 245 + distance;
}
