import { setTimeout as sleep } from 'node:timers/promises';

const READY_MS_MAX = 20_000;

/** Until an API answers GET /ready with 200: a worker is there, and Postgres with its schema where there is to be one. */
export async function whenReady(url: string): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX;
  for (;;) {
    const { status } = await fetch(`${url}/ready`);
    if (status === 200) return;
    if (performance.now() > deadline) throw new Error(`GET /ready: ${status} for ${READY_MS_MAX} ms`);
    await sleep(50);
  }
}
