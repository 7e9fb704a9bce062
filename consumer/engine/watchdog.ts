import { Worker } from 'node:worker_threads';

const TICK_MS = 100;

/**
 * Ends this process when its event loop stands still for `stallMsMax`: a fold that hangs must not keep the
 * process alive without its leases. Runs in a thread of its own and counts its own ticks, so that a process that
 * was stopped as a whole (SIGSTOP, a suspended machine) is not taken for one that hangs.
 */
export function startWatchdog(stallMsMax: number): () => Promise<void> {
  const beats = new Int32Array(new SharedArrayBuffer(4));
  const heart = setInterval(() => Atomics.add(beats, 0, 1), TICK_MS);
  const thread = new Worker(new URL('./watchdog-thread.js', import.meta.url), {
    workerData: { beats, tickMs: TICK_MS, ticksMax: Math.ceil(stallMsMax / TICK_MS) },
  });
  thread.unref();
  return async () => {
    clearInterval(heart);
    await thread.terminate();
  };
}
