import { isArchived, type Partition, partitionName, TOPICS } from './topics.js';

/**
 * Every key, group and channel name that weir uses in Redis is made here.
 *
 * All keys of a partition carry the hash tag `{<topic>.<index>}`, so that one commit touches one cluster slot.
 * `ns` is the namespace (default `weir`), which lets several installations or tests share a server.
 *
 * | key                                | type   | what it holds |
 * |------------------------------------|--------|---------------|
 * | `ns:{events.3}:stream`             | stream | the record batches: fields `v`, `n` (messages), `m` (JSON array) |
 * | `ns:{events.3}:appended`           | string | messages ever appended; less `head.folded` it is the backlog |
 * | `ns:{usage.3}:bytes`               | string | bytes of messages ever appended (topics with an archive); less `sinks.archive.bytes` they wait for it |
 * | `ns:{events.3}:head`               | hash   | `position`, `inside`, `seq`, `at`, `folded`, `dirty`, `takeovers`, `cautious`, `ids`, `rest`, `error`, `waits` |
 * | `ns:{events.3}:lease`              | string | `<worker>:<fencing token>:<nonce>` of the owner, with a TTL |
 * | `ns:{events.3}:fence`              | string | the last fencing token given out |
 * | `ns:{events.3}:doc:<name>`         | string | one document of decision state, JSON, written whole |
 * | `ns:{events.3}:index:<name>`       | zset   | a secondary index over documents (member, score in ms) |
 * | `ns:{events.3}:ids:<gen>:<chunk>`  | string | remembered message ids, 8 bytes each |
 * | `ns:{events.3}:timers`             | zset   | timer id, scored by due time in ms |
 * | `ns:{events.3}:outbox`             | stream | what must leave Redis, in commit order |
 * | `ns:{events.3}:sinks`              | hash   | sink name → last outbox entry it has written; for an archive also `<name>.stream` and `<name>.bytes` |
 * | `ns:{events.3}:dead`               | stream | dead letters |
 * | `ns:{events.3}:reply:<id>`         | string | a reply, kept for its TTL, for who misses its publication |
 * | `ns:{workers}:live`                | zset   | worker id, scored by Redis time of its last heartbeat in ms |
 * | `ns:{meta}:meta`                   | hash   | `partitions`, `windowSeconds`: what this installation was created with |
 * | `ns:{meta}:reconciliation`         | hash   | `result` and `state` of the last reconciliation, `budgets` and `budgets-state` of that of budgets, `counted-again` (JSON) |
 * | `ns:{meta}:maintenance`            | hash   | task → Redis time in ms of its last run in the fleet |
 * | `ns:{lock.<name>}:lease`           | string | `<owner>:<fencing token>:<nonce>` of the holder of a named lock, with a TTL |
 * | `ns:{lock.<name>}:fence`           | string | the last fencing token given out for it |
 * | `ns:{control}:log`                 | stream | control messages, as asked for; partitions heal from it |
 * | `ns:{control}:rules`               | hash   | rule → the settings last asked for (JSON) |
 * | `ns:{tripwire.<rule>}:wire`        | hash   | state of the rule's tripwire |
 * | `ns:{tripwire.<rule>}:reserved`    | zset   | users newly restricted by the rule, scored by Redis time in ms |
 * | `ns:{probe}:<nonce>:<type>`        | any    | for a moment, at start, while a process tries what its Redis user may do |
 */
export class Keys {
  constructor(readonly namespace: string) {}

  partition(partition: Partition): PartitionKeys {
    return new PartitionKeys(`${this.namespace}:{${partitionName(partition)}}`, isArchived(partition.topic));
  }

  /** Pattern for SCAN: the windows of usage of all partitions. A namespace has nothing that is special in it. */
  get windowDocuments(): string {
    return `${this.namespace}:{usage.*}:doc:window:*`;
  }

  /** Pattern for SCAN: documents of the topic `admissions` whose names begin so. */
  admissionsDocuments(prefix: string): string {
    return `${this.namespace}:{admissions.*}:doc:${prefix}*`;
  }

  /** Which document a key is; undefined: none of this namespace. */
  parseDocument(key: string): { readonly partition: Partition; readonly name: string } | undefined {
    const [, namespace, topic, index, name] = /^([^:]+):\{([a-z]+)\.(\d+)\}:doc:(.*)$/s.exec(key) ?? [];
    const known = TOPICS.find((each) => each === topic);
    if (namespace !== this.namespace || known === undefined || name === undefined) return undefined;
    return { partition: { topic: known, index: Number(index) }, name };
  }

  get workers(): string {
    return `${this.namespace}:{workers}:live`;
  }

  get meta(): string {
    return `${this.namespace}:{meta}:meta`;
  }

  get reconciliation(): string {
    return `${this.namespace}:{meta}:reconciliation`;
  }

  get maintenance(): string {
    return `${this.namespace}:{meta}:maintenance`;
  }

  /** @param name given by code, never by a request: `[a-z0-9-]` */
  lock(name: string): { readonly lease: string; readonly fence: string } {
    const base = `${this.namespace}:{lock.${name}}`;
    return { lease: `${base}:lease`, fence: `${base}:fence` };
  }

  get controlLog(): string {
    return `${this.namespace}:{control}:log`;
  }

  get controlRules(): string {
    return `${this.namespace}:{control}:rules`;
  }

  tripwire(rule: string): { readonly wire: string; readonly reserved: string } {
    const base = `${this.namespace}:{tripwire.${rule}}`;
    return { wire: `${base}:wire`, reserved: `${base}:reserved` };
  }

  /** Keys for trying what the Redis user may do; a nonce for each that tries. */
  probe(nonce: string): {
    readonly string: string;
    readonly hash: string;
    readonly set: string;
    readonly stream: string;
  } {
    const base = `${this.namespace}:{probe}:${nonce}`;
    return { string: `${base}:string`, hash: `${base}:hash`, set: `${base}:set`, stream: `${base}:stream` };
  }

  /** Pub/sub channel on which one API process hears that a reply of its own was stored. */
  replyChannel(apiProcess: string): string {
    return `${this.namespace}:replies:${apiProcess}`;
  }

  /** Pub/sub channel on which workers hear that the set of workers or leases changed. */
  get assignmentChannel(): string {
    return `${this.namespace}:assignment`;
  }
}

/** The one consumer group, on every partition's stream. */
export const GROUP = 'workers';

/** Name of the sink that keeps raw messages, in `sinks`. */
export const ARCHIVE = 'archive';

export class PartitionKeys {
  constructor(
    readonly base: string,
    /** Whether the raw messages of its topic are archived. */
    readonly archived: boolean,
  ) {}

  get stream(): string {
    return `${this.base}:stream`;
  }
  get appended(): string {
    return `${this.base}:appended`;
  }
  get bytes(): string {
    return `${this.base}:bytes`;
  }
  get head(): string {
    return `${this.base}:head`;
  }
  get lease(): string {
    return `${this.base}:lease`;
  }
  get fence(): string {
    return `${this.base}:fence`;
  }
  get timers(): string {
    return `${this.base}:timers`;
  }
  get outbox(): string {
    return `${this.base}:outbox`;
  }
  get sinks(): string {
    return `${this.base}:sinks`;
  }
  get dead(): string {
    return `${this.base}:dead`;
  }
  doc(name: string): string {
    return `${this.base}:doc:${name}`;
  }
  index(name: string): string {
    return `${this.base}:index:${name}`;
  }
  ids(generation: number, chunk: number): string {
    return `${this.base}:ids:${generation}:${chunk}`;
  }
  reply(id: string): string {
    return `${this.base}:reply:${id}`;
  }
}

/**
 * Document names. A tenant holds no `:` (it matches `[A-Za-z0-9_-]{1,64}`) and the free-form id comes last, so
 * no two pairs of tenant and id can make the same name.
 */
export function userDocument(tenant: string, userId: string): string {
  return `user:${tenant}:${userId}`;
}

/** One window of usage of a customer. The id of its timer is the same. */
export function windowDocument(tenant: string, startMs: number, customer: string): string {
  return `window:${tenant}:${startMs}:${customer}`;
}

/** The hot counters of a customer. The id of the timer that ends them is the same. */
export function countersDocument(tenant: string, customer: string): string {
  return `counters:${tenant}:${customer}`;
}

/** Index of the windows of a customer that are in Redis: member and score are the start in ms. */
export function hotWindowsIndex(tenant: string, customer: string): string {
  return `windows:${tenant}:${customer}`;
}

/** The partition's own document: counts and settings that belong to no single subject. */
export const PARTITION_DOCUMENT = 'partition';

/** Index of the tenants whose budgets were applied on a partition: when, ms (a seed: 0). */
export const CONFIGURED_INDEX = 'configured';

/** A tenant's budgets: configuration and the open window. */
export function budgetDocument(tenant: string): string {
  return `budget:${tenant}`;
}

/** A budget window that is over. */
export function budgetWindowDocument(tenant: string, startMs: number): string {
  return `budget-window:${tenant}:${startMs}`;
}

/** What was asked with one key. The id of the timer that ends a hold is the same. */
export function admissionDocument(tenant: string, key: string): string {
  return `admission:${tenant}:${key}`;
}

/** Timer: a tenant's open window ends. */
export function budgetResetTimer(tenant: string): string {
  return `reset:${tenant}`;
}
