import { Keys } from '../../shared/keys.js';
import { Lifecycle } from '../../shared/lifecycle.js';
import { DistributedLock } from '../../shared/lock/distributed-lock.js';
import { createLogger } from '../../shared/logging.js';
import { connectRedis, whenReady } from '../../shared/redis/connect.js';

/** A process that takes a lock, says so over IPC with its fencing token, and holds it until it is killed. */
const [url = '', namespace = '', name = '', ttlMs = ''] = process.argv.slice(2);
const log = createLogger('lock-holder', 'silent');
const redis = connectRedis({ url, name: 'lock-holder', log, lifecycle: new Lifecycle(log) });
await whenReady(redis, 5000);
const lock = new DistributedLock({ redis, keys: new Keys(namespace), owner: `pid-${process.pid}` });
const held = await lock.acquire(name, { ttlMs: Number(ttlMs), waitMs: 0, retryMs: 10 });
held.signal.addEventListener('abort', () => process.send!({ lost: true }));
process.send!({ token: held.fencingToken });
