import type pg from 'pg';

/**
 * Lends `work` a connection until it ends, or until `signal` is aborted: then the connection is closed, and with it the
 * statement under way, and nobody waits for a server that hangs. After any failure the connection is not used again.
 * @throws the reason of the signal; what the pool and `work` throw
 */
export async function withClient<T>(
  pool: pg.Pool,
  signal: AbortSignal,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([use(pool, signal, work), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function use<T>(
  pool: pg.Pool,
  signal: AbortSignal,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let released = false;
  const release = (error?: Error): void => {
    if (!released) client.release(error);
    released = true;
  };
  const onAbort = (): void => release(new Error('aborted'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    // Aborted while it waited for the connection.
    signal.throwIfAborted();
    const result = await work(client);
    release();
    return result;
  } catch (error) {
    release(error as Error);
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
