import { type UsageEvent, usageEventOf } from '../../../rules/windows/usage-event.js';
import type { Message } from '../../../shared/messages/message.js';

export interface UsageDraw {
  readonly timestamp: number;
  readonly tenant?: string;
  readonly customer?: string;
  readonly endpoint?: string;
  readonly tokens?: number;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly model?: string | null;
  readonly latencyMs?: number | null;
}

let made = 0;

export function usageMessage(draw: UsageDraw): Message {
  const { timestamp, tenant = 'acme', customer = 'c1', endpoint = '/api/completion', tokens = 10 } = draw;
  const { inputTokens = 4, outputTokens = 6, model = 'gpt-4', latencyMs = 20 } = draw;
  const latencyUs = latencyMs === null ? null : Math.round(latencyMs * 1000);
  made += 1;
  return {
    type: 'usage',
    tenant,
    subject: customer,
    id: `m${made}`,
    timestamp,
    data: [endpoint, tokens, inputTokens, outputTokens, model, latencyUs],
  };
}

/** An event; what is not said is 10 tokens of gpt-4 (4 in, 6 out) within 20 ms by acme's c1. */
export function usage(draw: UsageDraw): UsageEvent {
  return usageEventOf(usageMessage(draw));
}
