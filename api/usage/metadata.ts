import { LATENCY_MS_MAX, MODEL_CHARACTERS_MAX, TOKENS_MAX } from '../../shared/messages/usage.js';
import type { Defect } from '../refusal.js';
import { extraJson } from './extra.js';
import { boundedTextJson } from './text-json.js';

/** The fields of `metadata` that weir knows. Absent and null are the same. */
interface PostedMetadata {
  readonly tokens?: unknown;
  readonly inputTokens?: unknown;
  readonly outputTokens?: unknown;
  readonly model?: unknown;
  readonly latencyMs?: unknown;
}

/**
 * `metadata` as the elements of UsageData after the endpoint, in JSON: `1500,500,1000,"gpt-4",234000`, and the
 * unknown fields where there are some. Text and not values: JSON.stringify of the whole message would take 0.6 µs,
 * putting it together from texts takes 0.2.
 */
export function metadataJson(value: unknown, defects: Defect[]): string {
  if (value === undefined || value === null) return '0,0,0,null,null';
  if (typeof value !== 'object' || Array.isArray(value)) {
    defects.push({ path: 'metadata', message: 'must be an object' });
    return '';
  }
  const metadata: PostedMetadata = value;
  const input = tokensOf(metadata.inputTokens, 'metadata.inputTokens', defects);
  const output = tokensOf(metadata.outputTokens, 'metadata.outputTokens', defects);
  const total = tokensOf(metadata.tokens, 'metadata.tokens', defects);
  const tokens = total ?? (input ?? 0) + (output ?? 0);
  if (tokens > TOKENS_MAX) {
    defects.push({ path: 'metadata.tokens', message: `would be more than ${TOKENS_MAX} in sum` });
  }
  const model = metadata.model;
  const modelJson =
    model === undefined || model === null
      ? 'null'
      : boundedTextJson(model, MODEL_CHARACTERS_MAX, 'metadata.model', defects);
  const known = `${tokens},${input ?? 0},${output ?? 0},${modelJson},${latencyUs(metadata.latencyMs, defects)}`;
  const extra = extraJson(value, isKnown, defects);
  return extra === undefined ? known : `${known},${extra}`;
}

function isKnown(key: string): boolean {
  switch (key) {
    case 'tokens':
    case 'inputTokens':
    case 'outputTokens':
    case 'model':
    case 'latencyMs':
      return true;
    default:
      return false;
  }
}

function tokensOf(value: unknown, path: string, defects: Defect[]): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= TOKENS_MAX) {
    return value as number;
  }
  defects.push({ path, message: `must be a whole number from 0 to ${TOKENS_MAX}` });
  return undefined;
}

/** Kept as whole microseconds, so that sums are exact. */
function latencyUs(value: unknown, defects: Defect[]): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && value >= 0 && value <= LATENCY_MS_MAX) return Math.round(value * 1000);
  defects.push({ path: 'metadata.latencyMs', message: `must be a number from 0 to ${LATENCY_MS_MAX}` });
  return null;
}
