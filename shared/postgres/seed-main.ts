import { readStores } from '../launcher/stores-file.js';
import { loadConfig } from '../load-config.js';
import { createLogger } from '../logging.js';
import { warnOnStderr } from '../start-warnings.js';
import { seed } from './seed.js';

/** `npm run seed`: the database of DATABASE_URL, or the private one of an `npm start` that runs. */
try {
  const config = loadConfig();
  warnOnStderr();
  const log = createLogger('seed', config.LOG_LEVEL);
  const url = config.DATABASE_URL ?? (await readStores(config.WEIR_DATA_DIR))?.databaseUrl;
  if (url === undefined) throw new Error('no database: set DATABASE_URL, or let `npm start` run meanwhile');
  log.info(await seed(url, log), 'seeded');
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
