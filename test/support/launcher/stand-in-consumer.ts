import { Redis } from 'ioredis';
import { loadConfig } from '../../../shared/load-config.js';

/**
 * Keeps a connection to Redis, and ends with SIGTERM (saying whether Redis is still there) or with its launcher.
 * A deaf one does neither.
 */
const isDeaf = process.env['STAND_IN_IS_DEAF'] !== undefined;
const redis = new Redis(loadConfig().redisUrl!);
redis.on('error', () => undefined);
process.on('SIGTERM', async () => {
  if (isDeaf) return;
  process.stdout.write(`stand-in worker ends: ${await redis.ping()}\n`);
  process.exit(0);
});
const orphaned = (): void => {
  if (!isDeaf) process.exit(0);
};
process.on('disconnect', orphaned);
// The launcher may have gone while this process was still loading.
if (process.send !== undefined && !process.connected) orphaned();
process.stdout.write('stand-in worker runs\n');
