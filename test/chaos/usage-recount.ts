/** A usage event as a client posts it. */
export interface PostedUsage {
  readonly eventId: string;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  readonly tenantId: string;
  readonly customerId: string;
  readonly apiEndpoint: string;
  readonly metadata: {
    readonly tokens: number;
    readonly inputTokens: number;
    readonly outputTokens: number;
    readonly model?: string;
    readonly latencyMs?: number;
  };
}

/** Name, calls, tokens. */
export type NamedFigures = readonly [name: string, calls: number, tokens: number];

/** What is known of a window however one comes by it: through HTTP, from a table, or by counting. */
export interface WindowFigures {
  readonly calls: number;
  readonly tokens: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Mean over the calls that say a latency, in ms; 0 where none does. */
  readonly avgLatencyMs: number;
  /** Sorted by name. */
  readonly endpoints: readonly NamedFigures[];
  readonly models: readonly NamedFigures[];
}

/** Calls and tokens of an hour or a day. */
export type SlotFigures = Pick<WindowFigures, 'calls' | 'tokens' | 'endpoints' | 'models'>;

/**
 * What windows and counters must be, counted from the events that were accepted, each once: the other way to the
 * same figures, sharing no code with weir.
 */
export class UsageRecount {
  private readonly seen = new Set<string>();
  /** Tenant and customer, as `keyOf` writes them → its events. */
  private readonly byCustomer = new Map<string, PostedUsage[]>();

  accept(event: PostedUsage): void {
    const key = `${keyOf(event.tenantId, event.customerId)}/${event.eventId}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    const customer = keyOf(event.tenantId, event.customerId);
    const events = this.byCustomer.get(customer) ?? [];
    if (events.length === 0) this.byCustomer.set(customer, events);
    events.push(event);
  }

  get events(): number {
    return this.seen.size;
  }

  /** Start in ms → figures, ascending. */
  windowsOf(tenant: string, customer: string, windowMs: number): Map<number, WindowFigures> {
    return this.slotsOf(tenant, customer, windowMs);
  }

  /** Of the hour or the day that begins at `start`, ms. */
  slotOf(tenant: string, customer: string, slotMs: number, start: number): SlotFigures {
    const events = this.eventsOf(tenant, customer).filter(({ timestamp }) => {
      const at = Date.parse(timestamp);
      return at >= start && at < start + slotMs;
    });
    const { calls, tokens, endpoints, models } = sum(events);
    return { calls, tokens, endpoints, models };
  }

  private slotsOf(tenant: string, customer: string, slotMs: number): Map<number, WindowFigures> {
    const bySlot = new Map<number, PostedUsage[]>();
    for (const event of this.eventsOf(tenant, customer)) {
      const at = Date.parse(event.timestamp);
      const start = at - (at % slotMs);
      const events = bySlot.get(start) ?? [];
      if (events.length === 0) bySlot.set(start, events);
      events.push(event);
    }
    const starts = [...bySlot.keys()].sort((a, b) => a - b);
    return new Map(starts.map((start) => [start, sum(bySlot.get(start)!)]));
  }

  private eventsOf(tenant: string, customer: string): readonly PostedUsage[] {
    return this.byCustomer.get(keyOf(tenant, customer)) ?? [];
  }
}

/** As weir answers it: to the microsecond. */
export function meanMs(sumUs: number, count: number): number {
  return count === 0 ? 0 : Math.round(sumUs / count) / 1000;
}

export function sortedByName(figures: Iterable<NamedFigures>): NamedFigures[] {
  return [...figures].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

function keyOf(tenant: string, customer: string): string {
  return `${tenant}/${customer}`;
}

function sum(events: readonly PostedUsage[]): WindowFigures {
  const total = (of: (event: PostedUsage) => number) => events.reduce((so, event) => so + of(event), 0);
  const timed = events.filter(({ metadata }) => metadata.latencyMs !== undefined);
  const latencyUs = timed.reduce((so, { metadata }) => so + Math.round(metadata.latencyMs! * 1000), 0);
  return {
    calls: events.length,
    tokens: total(({ metadata }) => metadata.tokens),
    inputTokens: total(({ metadata }) => metadata.inputTokens),
    outputTokens: total(({ metadata }) => metadata.outputTokens),
    avgLatencyMs: meanMs(latencyUs, timed.length),
    endpoints: named(events, ({ apiEndpoint }) => apiEndpoint),
    models: named(events, ({ metadata }) => metadata.model),
  };
}

function named(
  events: readonly PostedUsage[],
  nameOf: (event: PostedUsage) => string | undefined,
): NamedFigures[] {
  const found = new Map<string, NamedFigures>();
  for (const event of events) {
    const name = nameOf(event);
    if (name === undefined) continue;
    const [, calls, tokens] = found.get(name) ?? [name, 0, 0];
    found.set(name, [name, calls + 1, tokens + event.metadata.tokens]);
  }
  return sortedByName(found.values());
}
