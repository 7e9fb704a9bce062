/** Runs of each size before it is believed that the time grows faster than the input. */
const ROUNDS_MAX = 20;
/** The first ones are slower: code is compiled, caches are cold. What is slower for one size alone must not hide a square. */
const ROUNDS_MIN = 5;
/** Twice as much of what is linear, and a good part for caches and memory; the square would be four times as much. */
const FACTOR_MAX = 3;
/** What a process does besides, in ms. A square that hides below it stalls nothing. */
const NOISE_MS = 3;

/**
 * Whether twice the input takes about twice the time. Compared is the CPU time of this process, the shortest of several
 * runs of both sizes in turn: what else the machine does makes single runs longer, never shorter.
 */
export async function growsLinearly(size: number, run: (size: number) => unknown): Promise<boolean> {
  let once = Number.POSITIVE_INFINITY;
  let twice = Number.POSITIVE_INFINITY;
  for (let round = 1; round <= ROUNDS_MAX; round++) {
    once = Math.min(once, await cpuMs(run, size));
    twice = Math.min(twice, await cpuMs(run, size * 2));
    if (round >= ROUNDS_MIN && twice <= once * FACTOR_MAX + NOISE_MS) return true;
  }
  return false;
}

async function cpuMs(run: (size: number) => unknown, size: number): Promise<number> {
  const before = process.cpuUsage();
  await run(size);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
