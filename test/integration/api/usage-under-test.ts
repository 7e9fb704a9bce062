import type { Message } from '../../../shared/messages/message.js';
import type { UsageData } from '../../../shared/messages/usage.js';
import type { ApiUnderTest } from './api-under-test.js';

/** A valid event of a customer of tenant `acme`, of this moment. */
export function usage(eventId: string, more: object = {}): Record<string, unknown> {
  return {
    ...{ eventId, timestamp: new Date().toISOString(), tenantId: 'acme', customerId: 'c1' },
    ...{ apiEndpoint: '/api/completion', metadata: { tokens: 1 }, ...more },
  };
}

/** The same as a CloudEvent. */
export function cloudEvent(eventId: string, more: object = {}): object {
  const { timestamp, customerId, tenantId, apiEndpoint, metadata } = usage(eventId, more);
  return {
    ...{ specversion: '1.0', type: 'com.example.usage', source: '/gateway' },
    ...{ id: eventId, time: timestamp, subject: customerId, data: { tenantId, apiEndpoint, metadata } },
  };
}

/** Every message in the streams of the topic, partition by partition. */
export async function usageMessages(api: ApiUnderTest): Promise<Message<UsageData>[]> {
  return (await api.messages()).filter(({ type }) => type === 'usage') as Message<UsageData>[];
}

export function idsOf(messages: readonly Message[]): string[] {
  return messages.map(({ id }) => id);
}
