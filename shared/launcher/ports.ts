import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { LauncherError } from './launcher-error.js';

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
 * Checks that the API will be able to bind its address, before anything is started for it.
 * @throws LauncherError when it is taken and stays so for `waitMs`, or cannot be bound at all.
 */
export async function whenPortFree(
  host: string,
  port: number,
  { waitMs, signal }: { readonly waitMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const code = await bindError(host, port);
    if (code === undefined) return;
    if (code !== 'EADDRINUSE') {
      throw new LauncherError(`the API cannot listen on ${host}:${port} (${code}): set HOST or PORT`);
    }
    if (performance.now() >= deadline) {
      throw new LauncherError(
        `port ${port} on ${host} is in use by another program: end it, or set PORT (PORT=0 takes a free one)`,
      );
    }
    await delay(100, undefined, { signal });
  }
}
