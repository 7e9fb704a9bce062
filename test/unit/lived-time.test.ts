import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { expect } from 'chai';
import { LivedTimeout, livedMs } from '../../shared/lived-time.js';
import { patient } from '../support/redis-server.js';
import { stall } from '../support/stall.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a deadline in lived time', () => {
  const start = (ms: number): { readonly over: Promise<number>; readonly timeout: LivedTimeout } => {
    const began = performance.now();
    let timeout!: LivedTimeout;
    const over = new Promise<number>((resolve) => {
      timeout = new LivedTimeout(() => resolve(performance.now() - began), ms);
    });
    return { over, timeout };
  };

  it('comes in time where nothing stalls', async () => {
    const lasted = await start(80).over;
    expect(lasted).to.be.within(79, patient(500));
  });

  it('is put off by the stalls in its life, wherever they lie', async () => {
    const early = start(100);
    stall(300);
    const late = start(100);
    await turn();
    stall(300);
    await turn();
    // Two stalls count 25 ms each, what is between them is short.
    expect(await early.over).to.be.within(640, patient(2000));
    expect(await late.over).to.be.within(370, patient(1700));
  });

  it('is not put off by stalls that are over', async () => {
    const before = start(1000);
    stall(200);
    await turn();
    const lasted = await start(50).over;
    before.timeout.clear();
    expect(lasted).to.be.within(49, patient(500));
  });

  it('that is shorter than any stall lets what has arrived be read first', async () => {
    const server = createServer((socket) => socket.end('x'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const order: string[] = [];
    for (let n = 0; n < 20; n++) {
      const socket = connect(port, '127.0.0.1');
      const read = new Promise<void>((resolve) => {
        socket.once('data', () => {
          order.push('read');
          resolve();
        });
      });
      await Promise.all([once(socket, 'connect'), once(server, 'connection')]);
      const { over } = start(1);
      stall(50);
      await Promise.all([read, over.then(() => order.push('over'))]);
    }
    server.close();
    expect(order).to.deep.equal(Array.from({ length: 20 }, () => ['read', 'over']).flat());
  });

  it('that is cleared never comes, not even when it is due', async () => {
    let came = false;
    const timeout = new LivedTimeout(() => (came = true), 1);
    // After its timer has fired, before its callback would come.
    const cleared = new Promise<void>((resolve) => setTimeout(() => resolve(timeout.clear()), 2));
    stall(50);
    await cleared;
    await start(20).over;
    expect(came).to.equal(false);
  });

  it('is by a clock that stands still in a stall, and never goes back', async () => {
    const { timeout } = start(1000);
    await start(20).over;
    let last = livedMs();
    const first = last;
    const end = performance.now() + 400;
    while (performance.now() < end) {
      const now = livedMs();
      // Floating point.
      expect(now).to.be.at.least(last - 0.001);
      last = now;
    }
    expect(last - first).to.be.below(40);
    await turn();
    timeout.clear();
  });
});
