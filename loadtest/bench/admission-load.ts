import { type ClosedLoop, closedLoop, serveJobs } from './closed-loop.js';
import { getRequest, headLines, RawConnection } from './raw-http.js';

/** What `admission-load` is asked to do. */
export interface AdmissionLoadJob {
  readonly url: string;
  readonly requests: 'admit' | 'health';
  readonly tenant: string;
  /** Connections, each with one request at a time. */
  readonly inFlight: number;
  readonly seconds: number;
}

const ID_DIGITS = 12;
/** Of this process: no request is a retry of another. */
let lastId = 0;

/** Bytes of a POST /admissions whose request id is overwritten in place: each is another request. */
class AdmitRequest {
  readonly bytes: Buffer;
  private readonly idAt: number;

  constructor(tenant: string) {
    const id = `${process.pid}-${'0'.repeat(ID_DIGITS)}`;
    const body = JSON.stringify({
      ...{ pipeline: 'ranking', priority: 'P1', estimated_tokens: 100, request_id: id },
    });
    const head = headLines({
      ...{ 'Content-Type': 'application/json', 'Content-Length': String(body.length) },
      'X-Tenant-Id': tenant,
    });
    this.bytes = Buffer.from(`POST /admissions HTTP/1.1\r\n${head}\r\n${body}`, 'latin1');
    this.idAt = this.bytes.indexOf(id) + id.length - ID_DIGITS;
  }

  stamp(id: number): void {
    this.bytes.write(String(id).padStart(ID_DIGITS, '0'), this.idAt, 'latin1');
  }
}

async function run({ url, requests, tenant, inFlight, seconds }: AdmissionLoadJob): Promise<ClosedLoop> {
  const senders = await Promise.all(
    Array.from({ length: inFlight }, async () => ({
      connection: await RawConnection.open(url),
      admit: new AdmitRequest(tenant),
    })),
  );
  const health = getRequest('/health');
  const result = await closedLoop(inFlight, seconds, async (place) => {
    const { connection, admit } = senders[place]!;
    if (requests === 'health') return expect(await connection.request(health), 200, '"status":"ok"');
    lastId += 1;
    admit.stamp(lastId);
    return expect(await connection.request(admit.bytes), 201, '"decision":"ALLOW",');
  });
  for (const { connection } of senders) connection.close();
  return result;
}

/** A refusal is cheaper than an answer, and so is an answer that nobody decided: the figure would flatter. */
function expect(
  answer: { readonly status: number; readonly body: string },
  status: number,
  has: string,
): void {
  if (answer.status === status && answer.body.includes(has) && !answer.body.includes('"context"')) return;
  throw new Error(`${answer.status} ${answer.body.slice(0, 500)}`);
}

serveJobs(run);
