import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isRunning, ownIdentity } from './launcher-identity.js';

const storesSchema = z.object({
  launcher: z.int().positive(),
  start: z.string().optional(),
  redisUrl: z.string(),
  databaseUrl: z.string(),
});

/** The addresses of the stores that a launcher runs, with their passwords. */
export type Stores = Pick<z.infer<typeof storesSchema>, 'redisUrl' | 'databaseUrl'>;

/**
 * Writes `WEIR_DATA_DIR/stores.json`, by which programs beside the launcher find its private stores. Only the launcher
 * that holds the lock of the folder does so.
 */
export async function writeStores(dataDir: string, stores: Stores): Promise<void> {
  const path = pathIn(dataDir);
  const { pid, start } = ownIdentity();
  const whole = `${path}.${process.pid}`;
  await writeFile(whole, `${JSON.stringify({ launcher: pid, start, ...stores })}\n`, { mode: 0o600 });
  await rename(whole, path);
}

export async function removeStores(dataDir: string): Promise<void> {
  await rm(pathIn(dataDir), { force: true });
}

/** The stores of the launcher that runs on the data folder; undefined when none does. */
export async function readStores(dataDir: string): Promise<Stores | undefined> {
  const text = await readFile(pathIn(dataDir), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const { launcher: pid, start, ...stores } = storesSchema.parse(JSON.parse(text));
  // A launcher that was killed has left its file.
  return isRunning({ pid, start }) ? stores : undefined;
}

function pathIn(dataDir: string): string {
  return join(dataDir, 'stores.json');
}
