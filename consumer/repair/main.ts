import { parseArgs } from 'node:util';
import { recordedPartitions } from '../../shared/installation.js';
import { Keys } from '../../shared/keys.js';
import { readStores } from '../../shared/launcher/stores-file.js';
import { Lifecycle } from '../../shared/lifecycle.js';
import { loadConfig } from '../../shared/load-config.js';
import { createLogger } from '../../shared/logging.js';
import { connectRedis, whenReady } from '../../shared/redis/connect.js';
import { warnOnStderr } from '../../shared/start-warnings.js';
import { allPartitions, type Partition, partitionName } from '../../shared/topics.js';
import { repairPartition } from './repair-partition.js';

const USAGE = `npm run repair -- [options] [partition …]
  --fold-again   where the head does not say what is left to do: fold the step again, though parts of it count twice
  --forget-ids   where ids are missing from Redis: go on without, though messages that come again count twice

Finishes commits that failed half-way, of the partitions named (events.3) or of all, in REDIS_URL or in the Redis of the
running \`npm start\`. Exit code 0: all can go on, 1: one cannot, 2: they could not be looked at.
`;
const READY_MS = 5000;
const COMMAND_MS_MAX = 10_000;

const lifecycle = new Lifecycle(createLogger('repair', 'silent'));

run().then(finish, notRepaired);

async function run(): Promise<number> {
  const { foldAgain, forgetIds, names } = readArguments();
  const config = loadConfig();
  warnOnStderr();
  const url = config.redisUrl ?? (await readStores(config.WEIR_DATA_DIR))?.redisUrl;
  if (url === undefined) throw new Error('set REDIS_URL, or run `npm start` on the same WEIR_DATA_DIR');
  const log = createLogger('repair', 'silent');
  const redis = connectRedis({
    ...{ url, name: 'repair', log, lifecycle, commandTimeoutMs: COMMAND_MS_MAX },
    onRefused: notRepaired,
  });
  await whenReady(redis, READY_MS);
  const keys = new Keys(config.WEIR_NAMESPACE);
  const partitions = allPartitions((await recordedPartitions(redis, keys)) ?? config.PARTITIONS);
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  let broken = 0;
  for (const partition of names.length === 0 ? partitions : names.map((name) => named(name, partitions))) {
    if (!(await repairPartition({ redis, keys, partition, foldAgain, forgetIds, say }))) broken += 1;
  }
  return broken === 0 ? 0 : 1;
}

function notRepaired(error: unknown): Promise<never> {
  process.stderr.write(`not repaired: ${error instanceof Error ? error.message : String(error)}\n`);
  return finish(2);
}

function named(name: string, partitions: readonly Partition[]): Partition {
  const found = partitions.find((partition) => partitionName(partition) === name);
  if (found === undefined) throw new Error(`there is no partition ${name}\n\n${USAGE}`);
  return found;
}

interface Options {
  readonly foldAgain: boolean;
  readonly forgetIds: boolean;
  readonly names: readonly string[];
}

function readArguments(): Options {
  try {
    const { values, positionals } = parseArgs({
      options: {
        'fold-again': { type: 'boolean', default: false },
        'forget-ids': { type: 'boolean', default: false },
      },
      allowPositionals: true,
    });
    return { foldAgain: values['fold-again'], forgetIds: values['forget-ids'], names: positionals };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${USAGE}`);
  }
}

async function finish(code: number): Promise<never> {
  await lifecycle.close();
  process.exit(code);
}
