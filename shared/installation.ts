import type { Redis } from 'ioredis';
import type { Config } from './config.js';
import type { Keys } from './keys.js';
import { evicts, readMemory } from './redis/memory.js';
import { SetupError } from './setup-error.js';

/** What an installation was created with, and cannot be changed: the data lies where these say. */
export interface Installation {
  readonly partitions: number;
  readonly windowSeconds: number;
}

export function installationOf(config: Config): Installation {
  return { partitions: config.PARTITIONS, windowSeconds: config.WINDOW_SECONDS };
}

const SETTINGS = {
  partitions: { variable: 'PARTITIONS', harm: "a user's state would be looked for in the wrong place" },
  windowSeconds: { variable: 'WINDOW_SECONDS', harm: 'windows of two lengths would overlap' },
} as const;

/** This process was configured with another setting than the data was written with. */
export class InstallationError extends SetupError {
  constructor(
    readonly setting: keyof Installation,
    readonly recorded: string,
    readonly configured: number,
  ) {
    const { variable, harm } = SETTINGS[setting];
    super(
      `${variable} is ${configured}, but the data in Redis was written with ${recorded}: ${harm}. ` +
        `Set ${variable}=${recorded}, or use another WEIR_NAMESPACE or an empty Redis.`,
    );
  }
}

/**
 * Records the settings at the first start, and checks them at every other.
 * @throws InstallationError when another one is recorded; what the driver throws when Redis is away.
 */
export async function claimInstallation(redis: Redis, keys: Keys, installation: Installation): Promise<void> {
  for (const setting of Object.keys(SETTINGS) as (keyof Installation)[]) {
    const configured = installation[setting];
    await redis.hsetnx(keys.meta, setting, configured);
    const recorded = await redis.hget(keys.meta, setting);
    if (recorded !== null && recorded !== String(configured)) {
      throw new InstallationError(setting, recorded, configured);
    }
  }
}

/** With how many partitions the data in Redis was written; undefined: there is none yet. */
export async function recordedPartitions(redis: Redis, keys: Keys): Promise<number | undefined> {
  const setting: keyof Installation = 'partitions';
  const recorded = await redis.hget(keys.meta, setting);
  return recorded === null ? undefined : Number(recorded);
}

/** What is wrong with how Redis treats its data when memory runs out; undefined when nothing is, or it does not say. */
export async function evictionDefect(redis: Redis): Promise<string | undefined> {
  const memory = await readMemory(redis);
  if (memory === undefined || !evicts(memory)) return undefined;
  return `Redis has maxmemory-policy ${memory.policy}: when memory runs out it deletes decisions. Set noeviction.`;
}
