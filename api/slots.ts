import { type Keys, type PartitionKeys, userDocument } from '../shared/keys.js';
import {
  allPartitions,
  DEFAULT_TENANT,
  type Partition,
  partitionName,
  partitionOf,
  type Topic,
} from '../shared/topics.js';

/** One partition with all that the API needs to address it; made once. */
export interface Slot {
  readonly partition: Partition;
  /** `events.3` */
  readonly name: string;
  readonly keys: PartitionKeys;
}

/** Finds the partition of a subject. */
export class Slots {
  readonly all: readonly Slot[];
  private readonly usageStart: number;
  private readonly admissionsStart: number;

  constructor(
    keys: Keys,
    readonly partitionsPerTopic: number,
  ) {
    this.all = allPartitions(partitionsPerTopic).map((partition) => ({
      partition,
      name: partitionName(partition),
      keys: keys.partition(partition),
    }));
    const startOf = (topic: Topic) => this.all.findIndex((slot) => slot.partition.topic === topic);
    this.usageStart = startOf('usage');
    this.admissionsStart = startOf('admissions');
  }

  /** The partition of a user (topic `events`, which is the first). */
  ofUser(userId: string): Slot {
    return this.all[partitionOf(DEFAULT_TENANT, userId, this.partitionsPerTopic)]!;
  }

  /** The partition of a customer of a tenant (topic `usage`). */
  ofCustomer(tenant: string, customer: string): Slot {
    return this.all[this.usageStart + partitionOf(tenant, customer, this.partitionsPerTopic)]!;
  }

  /** The partition of a tenant's budgets (topic `admissions`): all its levels together. */
  ofTenant(tenant: string): Slot {
    return this.all[this.admissionsStart + partitionOf(tenant, tenant, this.partitionsPerTopic)]!;
  }

  userKey(userId: string): string {
    return this.ofUser(userId).keys.doc(userDocument(DEFAULT_TENANT, userId));
  }

  ofTopic(topic: Topic): readonly Slot[] {
    return this.all.filter((slot) => slot.partition.topic === topic);
  }

  byName(name: string): Slot | undefined {
    return this.all.find((slot) => slot.name === name);
  }
}
