import { type Partition, TOPICS } from '../../shared/topics.js';

/** `events 0-3 5, usage 1`; `none`: for a line in the log. */
export function shareAsText(partitions: readonly Partition[]): string {
  const topics = TOPICS.flatMap((topic) => {
    const indexes = partitions.filter((partition) => partition.topic === topic).map(({ index }) => index);
    return indexes.length === 0 ? [] : [`${topic} ${ranges(indexes.sort((a, b) => a - b))}`];
  });
  return topics.join(', ') || 'none';
}

function ranges(ascending: readonly number[]): string {
  const runs: { readonly first: number; last: number }[] = [];
  for (const index of ascending) {
    const run = runs.at(-1);
    if (run?.last === index - 1) run.last = index;
    else runs.push({ first: index, last: index });
  }
  return runs.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(' ');
}
