import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Request, Response } from 'express';
import { nanoid } from 'nanoid';
import type { Logger } from '../../shared/logging.js';
import { type ApiMetrics, UNMATCHED } from '../metrics.js';
import { Refusal } from '../refusal.js';
import type { FastExpress } from './fast-express.js';
import { InFlight } from './in-flight.js';
import { problemDocument, sendProblem } from './problem.js';

export interface HttpServerOptions {
  readonly express: FastExpress;
  readonly metrics: ApiMetrics;
  readonly log: Logger;
  readonly inFlightMax: number;
  readonly slowRequestMs: number;
  readonly shutdownTimeoutMs: number;
}

/** Time for all headers, for a whole request, and for an idle connection, in ms. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than the 60 s of common load balancers, so that it is they who close an idle connection. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
/** Of the time to shut down, what is left for closing the rest of the process. */
const SHUTDOWN_RESERVE_MS = 1000;
const IDLE_SWEEP_MS = 50;

/** Status label of a request whose caller hung up before the answer. */
const CLIENT_CLOSED = 499;

const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

/** Ids we make: random per process, counted within it. A random id per request would cost 4 % of a read. */
const REQUEST_ID_PREFIX = `${nanoid(12)}-`;
let requestsCounted = 0;

function makeRequestId(): string {
  return REQUEST_ID_PREFIX + (++requestsCounted).toString(36);
}

/**
 * What every request gets, whatever its route: an id, a place among those in flight, a count and a duration. Done
 * around Express and not in it, because each middleware in Express costs every request.
 */
export class HttpServer {
  private readonly server: Server;
  /** Connections that have not sent a request yet. */
  private readonly unanswered = new Set<Socket>();
  private readonly inFlight = new InFlight();
  private closing = false;

  constructor(private readonly options: HttpServerOptions) {
    this.server = createServer({
      ...options.express.constructors,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: 2000,
    });
    this.server.on('request', (req, res) => this.handle(req as Request, res as Response));
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      answerBrokenRequest(error, socket as Socket),
    );
    // A connection that was opened and never used is not idle for Node: it would hold up the shutdown.
    this.server.on('connection', (socket) => {
      this.unanswered.add(socket);
      socket.once('close', () => this.unanswered.delete(socket));
    });
  }

  /** Starts to listen. @returns the URL with the real port. @throws the reason why it cannot listen */
  async listen(port: number, host: string): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
    const address = this.server.address() as AddressInfo;
    const shownHost = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `http://${shownHost}:${address.port}`;
  }

  /** Accepts nothing new, finishes what is in flight, then hangs up; in bounded time. */
  async close(): Promise<void> {
    if (this.closing || !this.server.listening) return;
    this.closing = true;
    // Whoever waits for an answer is told not to send the next request here.
    for (const res of this.inFlight) if (!res.headersSent) res.shouldKeepAlive = false;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    const closeIdle = (): void => {
      this.server.closeIdleConnections();
      for (const socket of this.unanswered) socket.destroy();
    };
    closeIdle();
    const sweep = setInterval(closeIdle, IDLE_SWEEP_MS);
    const deadlineMs = Math.max(this.options.shutdownTimeoutMs - SHUTDOWN_RESERVE_MS, 50);
    const deadline = setTimeout(() => this.server.closeAllConnections(), deadlineMs);
    await closed;
    clearInterval(sweep);
    clearTimeout(deadline);
  }

  private handle(req: Request, res: Response): void {
    const { metrics, express, inFlightMax } = this.options;
    const given = req.headers['x-request-id'];
    req.requestId = typeof given === 'string' && REQUEST_ID.test(given) ? given : makeRequestId();
    req.startedAt = performance.now();
    this.unanswered.delete(req.socket);
    if (this.closing) res.shouldKeepAlive = false;
    metrics.begin();
    this.inFlight.add(res);
    // Emitted once for every response: after it was sent, or when the caller hung up.
    res.on('close', () => this.finish(req, res));
    if (this.inFlight.size > inFlightMax) {
      const refusal = new Refusal('overloaded', `More than ${inFlightMax} requests are in flight.`);
      metrics.countDropped(refusal.code);
      sendProblem(req, res, refusal);
      return;
    }
    express.app(req, res);
  }

  private finish(req: Request, res: Response): void {
    const { metrics, log, slowRequestMs } = this.options;
    this.inFlight.remove(res);
    const milliseconds = performance.now() - req.startedAt;
    const route = (req.route as { readonly path: string } | undefined)?.path ?? UNMATCHED;
    const status = res.writableFinished ? res.statusCode : CLIENT_CLOSED;
    metrics.end(req.method, route, status, milliseconds / 1000);
    if (milliseconds > slowRequestMs) {
      const { method, requestId } = req;
      log.warn({ request: requestId, method, route, status, ms: Math.round(milliseconds) }, 'slow request');
    }
  }
}

/** What Node's parser could not read never becomes a request; the answer is written by hand. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, reason] = BROKEN_REQUESTS[error.code ?? ''] ?? [400, 'Bad Request'];
  const requestId = makeRequestId();
  const document = {
    ...problemDocument(
      new Refusal('invalid_request', `The request is not valid HTTP: ${reason}.`),
      requestId,
    ),
    title: reason,
    status,
  };
  const body = JSON.stringify(document);
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nX-Request-Id: ${requestId}\r\nConnection: close\r\n\r\n${body}`,
  );
}

const BROKEN_REQUESTS: Readonly<Record<string, readonly [status: number, reason: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout'],
};
