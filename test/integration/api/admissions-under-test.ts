import type { Message } from '../../../shared/messages/message.js';
import type { Admission } from '../../../shared/state/budget-state.js';
import { until } from '../../support/redis-server.js';
import type { Answer, ApiUnderTest } from './api-under-test.js';

/** One window for a whole test, unless a month begins meanwhile. */
export const ONE_WINDOW = { BUDGET_WINDOW_SECONDS: '2678400', HOLD_SECONDS: '600' } as const;

/** A valid body of `POST /admissions`. */
export function ask(more: object = {}): object {
  return { pipeline: 'ranking', priority: 'P1', estimated_tokens: 100, ...more };
}

export function admission(id: string, more: Partial<Admission> = {}): Admission {
  return {
    ...{ ids: [id], status: 'held', decision: 'ALLOW', pipeline: 'ranking', priority: 'P1' },
    ...{ path: ['global', 'ranking'], estimated: 100, granted: 100, window: 1_700_000_010_000 },
    ...{ at: 1_700_000_012_345, expiresAt: 1_700_000_042_345, endedAt: null, charged: null, overrun: 0 },
    ...{ expiry: null, failedOpen: null, refusedBy: null, body: '', attempts: 1 },
    ...{ dedupeUntil: 1_700_000_312_345, keepUntil: null },
    ...more,
  };
}

/** Messages of budgets in the stream, in the order in which they were appended to their partition. */
export async function admissionMessages(api: ApiUnderTest): Promise<Message<Record<string, unknown>>[]> {
  const all = (await api.messages()) as Message<Record<string, unknown>>[];
  return all.filter(({ type }) => ['admit', 'evaluate', 'settle', 'cancel', 'failed_open'].includes(type));
}

/** Answers the first message that waits for a reply as a worker would. @param seen messages that are not meant */
export async function playWorker(
  api: ApiUnderTest,
  reply: (message: Message<Record<string, unknown>>) => object,
  seen: readonly Message[] = [],
): Promise<Message<Record<string, unknown>>> {
  const old = new Set(seen.map(({ id }) => id));
  let message: Message<Record<string, unknown>> | undefined;
  await until(2000, 'the request is in the stream', async () => {
    message = (await admissionMessages(api)).find((each) => each.reply !== undefined && !old.has(each.id));
    return message !== undefined;
  });
  const [apiProcess, replyId] = message!.reply!.split('/') as [string, string];
  const body = JSON.stringify(reply(message!));
  await api.redis.set(api.slots.ofTenant(message!.subject).keys.reply(replyId), body, 'EX', 60);
  await api.redis.publish(api.keys.replyChannel(apiProcess), `${replyId} ${body}`);
  return message!;
}

/** A call, and a worker that answers it. @param seen see `playWorker` */
export async function answered(
  api: ApiUnderTest,
  call: Promise<Answer>,
  reply: (message: Message<Record<string, unknown>>) => object,
  seen: readonly Message[] = [],
): Promise<Answer> {
  const [answer] = await Promise.all([call, playWorker(api, reply, seen)]);
  return answer;
}

/** The id of the admission that a message speaks of. */
export function idIn(message: Message<Record<string, unknown>>): string {
  return String(message.data['admission']);
}

/** One metric of the API, with its labels as they are printed. */
export async function metric(api: ApiUnderTest, name: string): Promise<number> {
  const { body } = await api.get('/metrics');
  const line = String(body['text'])
    .split('\n')
    .find((each) => each.startsWith(`${name} `));
  if (line === undefined) throw new Error(`there is no metric ${name}`);
  return Number(line.slice(name.length + 1));
}
