/** Runs of each size before it is believed that the time grows faster than the input. */
const ROUNDS_MAX = 20;
/** The first ones are slower: code is compiled, caches are cold. What is slower for one size alone must not hide a square. */
const ROUNDS_MIN = 5;
/** Doubled twice, what is linear takes 4 times as long and the square 16 times: machines are too noisy for one doubling. */
const FACTOR_MAX = 8;
/** What a process does besides, in ms. A square that hides below it stalls nothing. */
const NOISE_MS = 3;

/**
 * Whether time grows with the input, from half of `size` to `size` and to twice of it. Compared is the CPU time of this
 * process, the shortest of several runs of the smallest and the largest in turn: what else the machine does makes single
 * runs longer, never shorter.
 */
export async function growsLinearly(size: number, run: (size: number) => unknown): Promise<boolean> {
  let small = Number.POSITIVE_INFINITY;
  let large = Number.POSITIVE_INFINITY;
  for (let round = 1; round <= ROUNDS_MAX; round++) {
    small = Math.min(small, await cpuMs(run, Math.ceil(size / 2)));
    large = Math.min(large, await cpuMs(run, size * 2));
    if (round >= ROUNDS_MIN && large <= small * FACTOR_MAX + NOISE_MS) return true;
  }
  return false;
}

async function cpuMs(run: (size: number) => unknown, size: number): Promise<number> {
  const before = process.cpuUsage();
  await run(size);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
