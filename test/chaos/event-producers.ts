import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { nanoid } from 'nanoid';
import { type PostedEvent, Recount } from './recount.js';

const PRODUCERS = 8;
const USERS = 200;
const BATCH_MAX = 500;
const ATTEMPTS_MAX = 1500;

/**
 * Post events one by one and in batches until they are stopped, to any API; repeat each until it is accepted, and some for
 * no reason. Some they give up after one attempt without an answer.
 */
export class EventProducers {
  readonly recount = new Recount();
  /** Each the only event of its user. It may count once, or not at all. */
  readonly unanswered: PostedEvent[] = [];
  requests = 0;
  private readonly accepted: { readonly event: PostedEvent; readonly at: number }[] = [];
  private stopped = false;

  /** @param urls where to post; read at every attempt, because an API may be replaced. */
  constructor(private readonly urls: () => readonly string[]) {}

  /** Resolves when all have stopped, and everything is accepted that they did not give up. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: PRODUCERS }, () => this.produce()));
  }

  stop(): void {
    this.stopped = true;
  }

  /** Posts again, with their ids, all events that were accepted since a time. @returns how many */
  async sendAgain(since: number): Promise<number> {
    const events = this.accepted.filter(({ at }) => at >= since).map(({ event }) => event);
    for (let start = 0; start < events.length; start += BATCH_MAX) {
      await this.postUntilAccepted(events.slice(start, start + BATCH_MAX));
    }
    return events.length;
  }

  private async produce(): Promise<void> {
    while (!this.stopped) {
      const events = Array.from({ length: randomInt(1, 4) === 1 ? randomInt(2, 50) : 1 }, randomEvent);
      await this.postUntilAccepted(events);
      if (randomInt(0, 10) === 0) await this.post(events);
      if (randomInt(0, 5) === 0) await this.postOnce();
      await sleep(randomInt(0, 5));
    }
  }

  private async postOnce(): Promise<void> {
    const event = purchase(`once-${nanoid()}`);
    const rejected = await this.post([event]);
    if (rejected.length === 0) this.accept(event);
    else this.unanswered.push(event);
  }

  private async postUntilAccepted(events: readonly PostedEvent[]): Promise<void> {
    let open = events;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const rejected = await this.post(open);
      for (const event of open) if (!rejected.includes(event)) this.accept(event);
      open = rejected;
      if (open.length === 0) return;
      await sleep(20);
    }
    throw new Error(`${open.length} events were not accepted in ${ATTEMPTS_MAX} attempts`);
  }

  private accept(event: PostedEvent): void {
    this.recount.accept(event);
    this.accepted.push({ event, at: Date.now() });
  }

  /** Returns what was not accepted: all of it where there is no answer. */
  private async post(events: readonly PostedEvent[]): Promise<readonly PostedEvent[]> {
    const single = events.length === 1;
    const urls = this.urls();
    this.requests += 1;
    try {
      const response = await fetch(`${urls[randomInt(0, urls.length)]}/${single ? 'event' : 'events'}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(single ? events[0] : events),
        signal: AbortSignal.timeout(5000),
      });
      const body = (await response.json()) as { rejected?: { index: number }[] };
      if (response.status !== 202) return events;
      return single ? [] : (body.rejected ?? []).map(({ index }) => events[index]!);
    } catch {
      return events;
    }
  }
}

function randomEvent(): PostedEvent {
  const user_id = `user-${randomInt(0, USERS)}`;
  switch (randomInt(0, 4)) {
    case 0:
      return { name: 'scam_message_flagged', event_id: nanoid(), event_properties: { user_id } };
    case 1:
      return {
        name: 'credit_card_added',
        event_id: nanoid(),
        // One zip code per card: which of two would be the last depends on the order of acceptance.
        event_properties: { user_id, ...card(randomInt(0, 100)) },
      };
    case 2:
      return purchase(user_id);
    default:
      return {
        name: 'chargeback_occurred',
        event_id: nanoid(),
        event_properties: { user_id, amount: randomInt(1, 100) / 100 },
      };
  }
}

function purchase(user_id: string): PostedEvent {
  return {
    name: 'purchase_made',
    event_id: nanoid(),
    event_properties: { user_id, amount: randomInt(1, 10_000) / 100 },
  };
}

function card(n: number): { card_id: string; zip_code: string } {
  return { card_id: `card-${n}`, zip_code: `zip-${n % 7}` };
}
