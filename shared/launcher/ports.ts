import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type ListenAddress, listenError } from '../listen-error.js';

/** The error code that binding the address gives; undefined when it is free. Port 0 is always free. */
export async function bindError(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** A port that nothing listens on now. */
export async function freePort(host: string): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port: 0 }, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/**
 * Checks that a server will be able to bind its address, before anything is started for it.
 * @throws SetupError when it is taken and stays so for `waitMs`, or cannot be bound at all.
 */
export async function whenPortFree(
  address: ListenAddress,
  { waitMs, signal }: { readonly waitMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const code = await bindError(address.host, address.port);
    if (code === undefined) return;
    if (code !== 'EADDRINUSE' || performance.now() >= deadline) throw listenError(code, address);
    await delay(100, undefined, { signal });
  }
}
