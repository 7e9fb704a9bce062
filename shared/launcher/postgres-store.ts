import type { Config } from '../config.js';
import { askPostgres, shownPostgres } from './ask-postgres.js';
import { GivenStore } from './given-store.js';
import { PrivatePostgres } from './private-postgres.js';
import type { PrivateServerContext } from './private-server.js';
import type { Store } from './store.js';

/** Connections of a process beside its pool: migrations, locks that are held. And some for people. */
const connectionsBesidePool = 4;
const connectionsForPeople = 20;

/** DATABASE_URL if set, else a Postgres of our own. */
export function postgresStore({
  config,
  ...context
}: PrivateServerContext & { readonly config: Config }): Store {
  const { DATABASE_URL: url, DATABASE_POOL_MAX, WORKERS, WEIR_DATA_DIR } = config;
  if (url === undefined) {
    const processes = WORKERS + 1;
    const connectionsMax = processes * (DATABASE_POOL_MAX + connectionsBesidePool) + connectionsForPeople;
    return new PrivatePostgres({ ...context, dataDir: WEIR_DATA_DIR, connectionsMax });
  }
  return new GivenStore({
    ...{ name: 'postgres', urlVariable: 'DATABASE_URL', givenBy: 'DATABASE_URL' },
    waitSeconds: config.STORE_WAIT_SECONDS,
    ...{ url, shown: shownPostgres(url), ask: askPostgres, say: context.say },
  });
}
