import type pg from 'pg';

/** At most one row: none before the first worker. Index: installation_pkey. */
const OWNER = 'SELECT namespace, partitions FROM installation';

/** Which installation a process belongs to: WEIR_NAMESPACE and PARTITIONS. */
export interface Ours {
  readonly namespace: string;
  readonly partitions: number;
}

/** Whose database it is, as a sentence, where that is not ours. */
export async function otherOwner(
  client: Pick<pg.Pool, 'query'>,
  { namespace, partitions }: Ours,
): Promise<string | undefined> {
  const { rows } = await client.query<Ours>(OWNER);
  const [owner] = rows;
  if (owner === undefined || (owner.namespace === namespace && owner.partitions === partitions))
    return undefined;
  return (
    `this database belongs to the installation ${owner.namespace} with ${owner.partitions} partitions; ` +
    `this one is ${namespace} with ${partitions}`
  );
}

export class AnotherInstallation extends Error {
  constructor(detail: string) {
    super(`DATABASE_URL: ${detail}. Give it a database of its own.`);
    this.name = 'AnotherInstallation';
  }
}

/** @throws AnotherInstallation */
export async function assertOurs(client: Pick<pg.Pool, 'query'>, ours: Ours): Promise<void> {
  const other = await otherOwner(client, ours);
  if (other !== undefined) throw new AnotherInstallation(other);
}
