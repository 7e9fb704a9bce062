import { Redis } from 'ioredis';
import { freePort, RedisServer, until } from './redis-server.js';

/** Two masters on loopback: the first has all slots, the second none. */
export class RedisCluster {
  private constructor(
    readonly source: RedisServer,
    readonly target: RedisServer,
    /** Connections to each, that follow no redirection. */
    readonly redis: { readonly source: Redis; readonly target: Redis },
  ) {}

  static async start(): Promise<RedisCluster> {
    const [source, target] = await Promise.all([node(), node()]);
    const redis = { source: connect(source), target: connect(target) };
    const [, busPort = ''] = (await redis.target.config('GET', 'cluster-port')) as string[];
    await redis.source.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await redis.source.call('CLUSTER', 'MEET', '127.0.0.1', target.port, busPort);
    await until(15_000, 'both know each other, and who has the slots', async () => {
      const infos = await Promise.all([redis.source, redis.target].map((each) => each.cluster('INFO')));
      return infos.every((info) => /cluster_state:ok/.test(info) && /cluster_slots_ok:16384/.test(info));
    });
    return new RedisCluster(source, target, redis);
  }

  /** The slot is on its way from the source to the target; no key of it has gone yet. */
  async beginMove(slot: number): Promise<void> {
    const [from, to] = await this.ids();
    await this.redis.target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from);
    await this.redis.source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to);
  }

  async moveKeys(keys: readonly string[]): Promise<void> {
    for (const key of keys)
      await this.redis.source.call('MIGRATE', '127.0.0.1', this.target.port, key, 0, 5000);
  }

  /** All of the slot is at the target. */
  async endMove(slot: number): Promise<void> {
    await this.moveKeys((await this.redis.source.call('CLUSTER', 'GETKEYSINSLOT', slot, 10_000)) as string[]);
    const [, to] = await this.ids();
    for (const each of [this.redis.target, this.redis.source]) {
      await each.call('CLUSTER', 'SETSLOT', slot, 'NODE', to);
    }
  }

  /** The move is called off: what had gone comes back. */
  async undoMove(slot: number): Promise<void> {
    const { source, target } = this.redis;
    // In this order: the source refuses keys that it is giving away.
    await source.call('CLUSTER', 'SETSLOT', slot, 'STABLE');
    const gone = (await target.call('CLUSTER', 'GETKEYSINSLOT', slot, 10_000)) as string[];
    for (const key of gone) await target.call('MIGRATE', '127.0.0.1', this.source.port, key, 0, 5000);
    await target.call('CLUSTER', 'SETSLOT', slot, 'STABLE');
  }

  async stop(): Promise<void> {
    this.redis.source.disconnect();
    this.redis.target.disconnect();
    await Promise.all([this.source.stop(), this.target.stop()]);
  }

  private ids(): Promise<[source: string, target: string]> {
    return Promise.all([this.redis.source.cluster('MYID'), this.redis.target.cluster('MYID')]);
  }
}

async function node(): Promise<RedisServer> {
  return RedisServer.start(
    ...['--cluster-enabled', 'yes', '--cluster-port', String(await freePort())],
    ...['--cluster-require-full-coverage', 'no'],
  );
}

function connect(server: RedisServer): Redis {
  const redis = new Redis(server.url);
  redis.on('error', () => undefined);
  return redis;
}
