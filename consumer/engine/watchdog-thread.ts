import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const { beats, tickMs, ticksMax } = workerData as { beats: Int32Array; tickMs: number; ticksMax: number };

let last = Atomics.load(beats, 0);
let silentTicks = 0;

setInterval(() => {
  const now = Atomics.load(beats, 0);
  silentTicks = now === last ? silentTicks + 1 : 0;
  last = now;
  if (silentTicks < ticksMax) return;
  // Not through the logger or process.stderr: both need the event loop that stands still.
  writeSync(2, `${JSON.stringify({ level: 60, msg: 'the event loop stands still: ending the process' })}\n`);
  process.kill(process.pid, 'SIGKILL');
}, tickMs);
