import { expect } from 'chai';
import { Gauge, Registry } from 'prom-client';
import { startOpsServer } from '../../consumer/ops-server.js';
import { RawConnection } from '../support/raw-http.js';

describe('the ops server of a worker', () => {
  it('answers a scrape that is under way when it closes, and waits for nobody else', async () => {
    const registry = new Registry();
    let collects: () => void = () => undefined;
    let collected: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      collects = resolve;
    });
    const slow = new Promise<void>((resolve) => {
      collected = resolve;
    });
    new Gauge({
      name: 'slow',
      help: 'x',
      registers: [registry],
      async collect() {
        collects();
        await slow;
        this.set(7);
      },
    });
    const server = await startOpsServer(registry, '127.0.0.1', 0);
    const unused = await RawConnection.open(server.url);
    const scrape = fetch(`${server.url}/metrics`);
    await asked;
    const closed = server.close();
    collected();
    expect(await (await scrape).text()).to.include('slow 7');
    await closed;
    await unused.closed;
  });
});
