import { crc32 } from 'node:zlib';

/**
 * Which partitions each worker should own: every worker computes the same answer from the same list. Nobody has
 * more than one partition more than anybody else, neither of a topic nor in all (topics differ in how much work they
 * are), and few partitions move when a worker comes or goes (rendezvous hashing with a bound on the load).
 *
 * @param workers ids of the live workers, in any order
 * @param partitions names of all partitions (`<topic>.<index>`), in the order all workers share
 * @returns worker id → partition names
 */
export function assignPartitions(
  workers: readonly string[],
  partitions: readonly string[],
): ReadonlyMap<string, readonly string[]> {
  const assigned = new Map<string, string[]>(workers.map((worker) => [worker, []]));
  if (workers.length === 0) return assigned;
  for (const ofTopic of byTopic(partitions)) {
    const loads = new Map<string, number>(workers.map((worker) => [worker, 0]));
    const share = Math.floor(ofTopic.length / workers.length);
    for (const partition of ofTopic) {
      const roomy = workers.filter((worker) => loads.get(worker)! < share);
      // What is left when everybody has a share goes to those who have least in all.
      const candidates =
        roomy.length > 0 ? roomy : leastLoaded(workers.filter((worker) => loads.get(worker) === share));
      const best = heaviest(candidates, partition);
      loads.set(best, loads.get(best)! + 1);
      assigned.get(best)!.push(partition);
    }
  }
  return assigned;

  function leastLoaded(candidates: readonly string[]): readonly string[] {
    const least = Math.min(...candidates.map((worker) => assigned.get(worker)!.length));
    return candidates.filter((worker) => assigned.get(worker)!.length === least);
  }
}

function byTopic(partitions: readonly string[]): Iterable<readonly string[]> {
  const topics = new Map<string, string[]>();
  for (const partition of partitions) {
    const topic = partition.slice(0, partition.lastIndexOf('.'));
    const ofTopic = topics.get(topic);
    if (ofTopic === undefined) topics.set(topic, [partition]);
    else ofTopic.push(partition);
  }
  return topics.values();
}

function heaviest(workers: readonly string[], partition: string): string {
  let best = '';
  let bestWeight = -1;
  for (const worker of workers) {
    const weight = crc32(`${worker}|${partition}`);
    if (weight > bestWeight || (weight === bestWeight && worker < best)) {
      best = worker;
      bestWeight = weight;
    }
  }
  return best;
}
