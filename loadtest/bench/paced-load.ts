import { randomUUID } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Percentiles, percentilesOf } from './figures.js';

/** What `paced-load` is asked to do. */
export interface PacedLoadJob {
  readonly url: string;
  readonly eventsPerSecond: number;
  readonly seconds: number;
}

export interface PacedLoad {
  /** From the answer to the POST of a second flag until a GET /canmessage has answered `false`, in ms. */
  readonly visible: Percentiles;
  /** The POSTs of all events, in ms. */
  readonly posts: Percentiles;
  /** Such a GET by itself, in ms: the resolution of `visible`. */
  readonly reads: Percentiles;
  readonly samples: number;
  readonly eventsPerSecond: number;
}

/** Every 20th event is the first flag of a sampled user; the second follows this many events later. */
const SAMPLE_EVERY = 20;
const SECOND_FLAG_AFTER_SAMPLES = 50;
const WARM_UP_SECONDS = 2;
const OTHER_USERS = 10_000;
const VISIBLE_MS_MAX = 5000;

class PacedRun {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 256 });
  private readonly visibleMs: number[] = [];
  private readonly postMs: number[] = [];
  private readonly readMs: number[] = [];
  private readonly pending: Promise<void>[] = [];
  private warm = false;

  constructor(private readonly job: PacedLoadJob) {}

  /** Open loop: an event is due at its time, however long those before it take. */
  async run(): Promise<PacedLoad> {
    const { eventsPerSecond, seconds } = this.job;
    const total = eventsPerSecond * (WARM_UP_SECONDS + seconds);
    const start = performance.now();
    for (let sent = 0; sent < total; ) {
      const due = Math.min(total, Math.floor(((performance.now() - start) * eventsPerSecond) / 1000));
      this.warm = sent >= eventsPerSecond * WARM_UP_SECONDS;
      for (; sent < due; sent += 1) this.pending.push(this.event(sent));
      await sleep(1);
    }
    const elapsedSeconds = (performance.now() - start) / 1000;
    await Promise.all(this.pending);
    this.agent.destroy();
    return {
      visible: percentilesOf(this.visibleMs),
      posts: percentilesOf(this.postMs),
      reads: percentilesOf(this.readMs),
      samples: this.visibleMs.length,
      eventsPerSecond: total / elapsedSeconds,
    };
  }

  private async event(index: number): Promise<void> {
    const sample = Math.floor(index / SAMPLE_EVERY);
    const place = index % SAMPLE_EVERY;
    if (place === 0) await this.post('scam_message_flagged', { user_id: `sample-${sample}` });
    else if (place === SAMPLE_EVERY / 2 && sample >= SECOND_FLAG_AFTER_SAMPLES) {
      await this.secondFlag(`sample-${sample - SECOND_FLAG_AFTER_SAMPLES}`);
    } else await this.post('purchase_made', { user_id: `other-${index % OTHER_USERS}`, amount: 12.5 });
  }

  private async secondFlag(user: string): Promise<void> {
    const counts = this.warm;
    await this.post('scam_message_flagged', { user_id: user });
    const answered = performance.now();
    for (;;) {
      const asked = performance.now();
      const body = await this.call('GET', `/canmessage?user_id=${user}`, 200);
      const now = performance.now();
      if (counts) this.readMs.push(now - asked);
      if (body === '{"can_message":false}') {
        if (counts) this.visibleMs.push(now - answered);
        return;
      }
      if (now - answered > VISIBLE_MS_MAX) throw new Error(`no decision within ${VISIBLE_MS_MAX} ms`);
    }
  }

  private async post(name: string, properties: object): Promise<void> {
    const counts = this.warm;
    const body = JSON.stringify({ name, event_properties: properties, event_id: randomUUID() });
    const asked = performance.now();
    await this.call('POST', '/event', 202, body);
    if (counts) this.postMs.push(performance.now() - asked);
  }

  private call(method: string, path: string, expected: number, body?: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const req = request(`${this.job.url}${path}`, { method, agent: this.agent, headers }, (res) => {
        readText(res).then((text) => {
          if (res.statusCode === expected) resolve(text);
          else reject(new Error(`${method} ${path}: ${res.statusCode} ${text}`));
        }, reject);
      });
      req.on('error', reject);
      req.end(body);
    });
  }
}

function readText(res: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    res.setEncoding('utf8');
    res.on('data', (chunk: string) => {
      text += chunk;
    });
    res.on('end', () => resolve(text));
    res.on('error', reject);
  });
}

process.on('message', (job: PacedLoadJob) => {
  new PacedRun(job).run().then(
    (result) => process.send?.({ type: 'result', result }),
    (error: unknown) => process.send?.({ type: 'failed', error: String(error) }),
  );
});
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
process.send?.({ type: 'listening' });
