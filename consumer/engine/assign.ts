import { crc32 } from 'node:zlib';

/**
 * Which partitions each worker should own: every worker computes the same answer from the same list. Nobody has
 * more than one partition more than anybody else, and few partitions move when a worker comes or goes (rendezvous
 * hashing with a bound on the load).
 *
 * @param workers ids of the live workers, in any order
 * @param partitions names of all partitions, in the order all workers share
 * @returns worker id → partition names
 */
export function assignPartitions(
  workers: readonly string[],
  partitions: readonly string[],
): ReadonlyMap<string, readonly string[]> {
  const assigned = new Map<string, string[]>(workers.map((worker) => [worker, []]));
  if (workers.length === 0) return assigned;
  const share = Math.floor(partitions.length / workers.length);
  let larger = partitions.length % workers.length;
  for (const partition of partitions) {
    let best: string | undefined;
    let bestWeight = -1;
    for (const worker of workers) {
      const load = assigned.get(worker)!.length;
      if (load > share || (load === share && larger === 0)) continue;
      const weight = crc32(`${worker}|${partition}`);
      if (weight > bestWeight || (weight === bestWeight && worker < best!)) {
        best = worker;
        bestWeight = weight;
      }
    }
    const own = assigned.get(best!)!;
    if (own.length === share) larger -= 1;
    own.push(partition);
  }
  return assigned;
}
