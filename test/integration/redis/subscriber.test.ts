import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Lifecycle } from '../../../shared/lifecycle.js';
import { createLogger } from '../../../shared/logging.js';
import { connectRedis } from '../../../shared/redis/connect.js';
import { FaultyProxy } from '../../support/faulty-proxy.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { until } from '../../support/redis-server.js';

describe('a connection that listens', () => {
  const log = createLogger('test', 'silent');
  let lifecycle: Lifecycle;
  beforeEach(() => {
    lifecycle = new Lifecycle(log);
  });
  afterEach(() => lifecycle.close());

  it('survives being lost at the moment it subscribes again', async () => {
    const proxy = await FaultyProxy.start(testRedis().url);
    lifecycle.onClose('proxy', () => proxy.close());
    const publisher = new Redis(testRedis().url);
    lifecycle.onClose('publisher', () => publisher.disconnect());
    const unhandled: unknown[] = [];
    const listeners = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (error) => unhandled.push(error));
    lifecycle.onClose('unhandled', () => {
      process.removeAllListeners('unhandledRejection');
      for (const listener of listeners) process.on('unhandledRejection', listener);
    });

    const channel = testNamespace();
    const subscriber = connectRedis({ url: proxy.url, name: 'listens', log, lifecycle });
    const heard: string[] = [];
    subscriber.on('message', (_channel, text) => heard.push(text));
    subscriber.on('ready', () => void subscriber.subscribe(channel).catch(() => undefined));
    const listening = async (): Promise<boolean> =>
      ((await publisher.pubsub('NUMSUB', channel)) as [string, number])[1] === 1;
    await until(3000, 'it listens', listening);

    proxy.swallowNextReply('subscribe');
    await publisher.client('KILL', 'TYPE', 'PUBSUB');
    await until(3000, 'it is lost again while it subscribes', () => proxy.swallowed === 1);
    await until(3000, 'it listens again', listening);
    await publisher.publish(channel, 'still there');
    await until(3000, 'it hears', () => heard.includes('still there'));
    expect(unhandled).to.deep.equal([]);
  });
});
