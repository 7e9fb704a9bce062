import { Agent, request } from 'node:http';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Slots } from '../../../api/slots.js';
import { Keys } from '../../../shared/keys.js';
import { ApiProcess } from '../../support/api-process.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { RawConnection } from '../../support/raw-http.js';
import { until } from '../../support/redis-server.js';

interface Exchange {
  readonly status?: number;
  readonly closes?: boolean;
  /** Code of the error; a refused connection is one that weir has not accepted. */
  readonly error?: string;
}

const CALLERS = 16;

/** Callers that keep their connections and send one request after the other until weir takes no more connections. */
class Callers {
  answered = 0;
  closing = 0;
  readonly failures: string[] = [];
  private readonly running: Promise<unknown>;

  constructor(private readonly url: string) {
    this.running = Promise.all(Array.from({ length: CALLERS }, (_, n) => this.call(n)));
  }

  /** Resolves when all have been refused a connection. */
  async refused(): Promise<void> {
    await this.running;
  }

  private async call(n: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (;;) {
      const { status, closes, error } = await this.exchange(agent, n);
      if (error === 'ECONNREFUSED') break;
      if (error !== undefined) this.failures.push(error);
      else if (status !== 202 && status !== 200) this.failures.push(`status ${status}`);
      else this.answered++;
      if (closes === true) this.closing++;
    }
    agent.destroy();
  }

  private exchange(agent: Agent, n: number): Promise<Exchange> {
    const { hostname, port } = new URL(this.url);
    const body = JSON.stringify({ name: 'scam_message_flagged', event_properties: { user_id: `u${n}` } });
    const write = { method: 'POST', path: '/event', headers: { 'content-type': 'application/json' } };
    const options = n % 2 === 0 ? write : { path: `/canmessage?user_id=u${n}` };
    return new Promise((resolve) => {
      const req = request({ host: hostname, port, agent, ...options }, (res) => {
        res.resume();
        res.on('error', (error: NodeJS.ErrnoException) => resolve({ error: `answer: ${error.code}` }));
        res.on('end', () => resolve({ status: res.statusCode!, closes: res.headers.connection === 'close' }));
      });
      req.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }));
      req.end(n % 2 === 0 ? body : undefined);
    });
  }
}

describe('api: a stop', () => {
  let api: ApiProcess;
  let namespace: string;
  afterEach(() => api.end('SIGKILL'));

  async function start(settings: Readonly<Record<string, string>> = {}): Promise<string> {
    namespace = testNamespace();
    api = await ApiProcess.start({
      REDIS_URL: testRedis().url,
      WEIR_NAMESPACE: namespace,
      // A machine with other work to do keeps it.
      REDIS_COMMAND_TIMEOUT_MS: '10000',
      ...settings,
    });
    const { url } = api;
    await until(10_000, 'it has found its Redis', async () => {
      const answer = await fetch(`${url}/canmessage?user_id=u`, { headers: { connection: 'close' } });
      return answer.status === 200;
    });
    return url;
  }

  function flagRequest(n: number): string {
    const body = JSON.stringify({ name: 'scam_message_flagged', event_properties: { user_id: `u${n}` } });
    const head = 'POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
  }

  /** Messages ever, by the counters of the partitions. */
  async function appended(): Promise<number> {
    const redis = new Redis(testRedis().url);
    const { all } = new Slots(new Keys(namespace), 8);
    const counts = await Promise.all(all.map((slot) => redis.get(slot.keys.appended)));
    redis.disconnect();
    return counts.reduce((sum, count) => sum + Number(count ?? 0), 0);
  }

  for (const [delayMs, rounds] of [
    ['0', 4],
    ['400', 2],
  ] as const) {
    it(`resets no connection of 16 callers at work, SHUTDOWN_DELAY_MS=${delayMs}`, async () => {
      for (let round = 0; round < rounds; round++) {
        const callers = new Callers(await start({ SHUTDOWN_DELAY_MS: delayMs }));
        await until(10_000, 'all are at work', () => callers.answered > CALLERS * 10);
        const ended = api.end('SIGTERM');
        await callers.refused();
        expect(callers.failures, `round ${round}`).to.deep.equal([]);
        expect(callers.closing, 'connections that were said to close').to.be.at.least(CALLERS);
        expect(await ended).to.equal(0);
      }
    }).timeout(120_000);
  }

  it('resets no connection of 64 callers that send many requests at once, and does just those that it answers', async () => {
    const url = await start({ BACKLOG_MAX: '1000000' });
    const before = await appended();
    const callers = await Promise.all(Array.from({ length: 64 }, () => RawConnection.open(url)));
    const errors: unknown[] = [];
    for (const [n, caller] of callers.entries()) {
      caller.socket.on('error', (error) => errors.push(error));
      caller.write(flagRequest(n).repeat(8));
      // One more for each answer.
      let answered = 0;
      caller.socket.on('data', () => {
        for (; answered < caller.statuses.length; answered++) {
          if (caller.socket.writable) caller.write(flagRequest(n));
        }
      });
    }
    const answers = (): readonly number[] => callers.flatMap(({ statuses }) => statuses);
    await until(10_000, 'all are at work', () => answers().length > 1000);
    const ended = api.end('SIGTERM');
    await Promise.all(callers.map(({ closed }) => closed));
    expect(await ended).to.equal(0);
    expect(errors).to.deep.equal([]);
    expect(new Set(answers())).to.deep.equal(new Set([202]));
    expect((await appended()) - before).to.equal(answers().length);
  }).timeout(60_000);

  it('answers callers that had connected and that it had not noticed yet', async () => {
    const url = await start();
    api.signal('SIGSTOP');
    const callers = await Promise.all(Array.from({ length: 64 }, () => RawConnection.open(url)));
    for (const caller of callers) caller.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const ended = api.end('SIGTERM');
    api.signal('SIGCONT');
    await Promise.all(callers.map(({ closed }) => closed));
    expect(callers.flatMap(({ statuses }) => statuses)).to.deep.equal(callers.map(() => 200));
    expect(await ended).to.equal(0);
  });

  it('goes on serving for SHUTDOWN_DELAY_MS, is not ready, and closes each connection after its answer', async () => {
    const url = await start({ SHUTDOWN_DELAY_MS: '1500' });
    const before = await RawConnection.open(url);
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    before.write(get('/health'));
    await until(5000, 'it is answered', () => before.statuses.length === 1);
    expect(before.header('Connection')).to.equal('keep-alive');
    const stoppedAt = performance.now();
    const ended = api.end('SIGTERM');
    await until(5000, 'it is stopping', async () => {
      const answer = await fetch(`${url}/ready`, { headers: { connection: 'close' } });
      const { status } = (await answer.json()) as { readonly status: string };
      return answer.status === 503 && status === 'stopping';
    });
    before.write(get('/canmessage?user_id=u'));
    await before.closed;
    expect(before.statuses).to.deep.equal([200, 200]);
    expect(before.header('Connection')).to.equal('close');
    expect((await fetch(`${url}/canmessage?user_id=u`)).status).to.equal(200);
    expect(await ended).to.equal(0);
    expect(performance.now() - stoppedAt).to.be.at.least(1500);
  });

  it('does not wait for SHUTDOWN_DELAY_MS after a failure', async () => {
    const url = await start({ SHUTDOWN_DELAY_MS: '600000', PARTITIONS: '4' });
    expect((await fetch(`${url}/health`)).status).to.equal(200);
    const other = ApiProcess.start({
      REDIS_URL: 'redis://127.0.0.1:1/',
      SHUTDOWN_DELAY_MS: '600000',
      PORT: new URL(url).port,
    });
    const failure = await other.then(
      () => 'it started',
      (error: unknown) => (error as Error).message,
    );
    expect(failure).to.equal('the API ended: 1');
  });

  it('ends a connection on which nothing was ever sent, and one that is kept, without a reset', async () => {
    const url = await start();
    const unused = await RawConnection.open(url);
    const kept = await RawConnection.open(url);
    kept.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until(5000, 'it is answered', () => kept.statuses.length === 1);
    const errors: unknown[] = [];
    for (const { socket } of [unused, kept]) socket.on('error', (error) => errors.push(error));
    const ended = api.end('SIGTERM');
    await Promise.all([unused.closed, kept.closed]);
    expect(errors).to.deep.equal([]);
    expect(await ended).to.equal(0);
  });
});
