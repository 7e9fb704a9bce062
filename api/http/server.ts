import { createServer, type Server } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import type { Request, Response } from 'express';
import { nanoid } from 'nanoid';
import type { Logger } from '../../shared/logging.js';
import { type ApiMetrics, UNMATCHED } from '../metrics.js';
import type { Refusal } from '../refusal.js';
import { answerBroken, type BrokenStatus, brokenStatusOf, sendBroken } from './broken-requests.js';
import { Connections } from './connections.js';
import type { FastExpress } from './fast-express.js';
import { type HostGuard, pathOf } from './host-guard.js';
import type { InFlight } from './in-flight.js';
import { sendProblem } from './problem.js';

export interface HttpServerOptions {
  readonly express: FastExpress;
  readonly metrics: ApiMetrics;
  readonly guard: HostGuard;
  readonly log: Logger;
  readonly inFlight: InFlight;
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
/** As many connections as the kernel's queue holds by default. */
const ACCEPT_TURNS_MAX = 511;
const SWEEP_MS = 50;
/** The end of drain(), in which connections are kept. */
const SETTLE_MS_MAX = 250;

/** Status label of a request whose caller hung up before the answer. */
const CLIENT_CLOSED = 499;

/** Answered under any load: whoever asks decides whether this process is to live. */
const OPERATION_PATHS: ReadonlySet<string> = new Set(['/health', '/ready', '/metrics']);

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
  private readonly connections = new Connections();
  /** Connections on which something came that is no HTTP. */
  private readonly broken = new WeakSet<Socket>();
  /** Answers say that no further request will be taken on their connection. */
  private hangsUp = false;
  private stopping = false;
  /** Connections, ever. */
  private accepted = 0;
  private closed: Promise<void> | undefined;

  constructor(private readonly options: HttpServerOptions) {
    this.server = createServer({
      ...options.express.constructors,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: 2000,
      // Node's own answer to a request without one is no problem document; handle() refuses it.
      requireHostHeader: false,
    });
    // A caller that has said all may close its half: it gets its answer. Not documented, but as old as Node's server.
    (this.server as { httpAllowHalfOpen?: boolean }).httpAllowHalfOpen = true;
    this.server.on('request', (req, res) => this.handle(req as Request, res as Response));
    this.server.on('checkContinue', (req, res) => {
      (req as Request).expectsContinue = true;
      this.handle(req as Request, res as Response);
    });
    this.server.on('checkExpectation', (req, res) => this.handle(req as Request, res as Response, 417));
    this.server.on('connect', (_req, socket) => answerBroken(socket as Socket, 400, makeRequestId()));
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      this.answerClientError(error, socket as Socket),
    );
    this.server.on('connection', (socket) => {
      this.accepted++;
      this.connections.add(socket);
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

  /** From the beginning of drain() or close() on. */
  get isStopping(): boolean {
    return this.stopping;
  }

  /**
   * Goes on serving for this long, so that whoever routes traffic here can see that `/ready` is 503, and moves callers
   * away: each answer closes its connection. Not at the very end: callers that are just connecting when the port is
   * closed would be reset, and one that has a connection does not connect.
   */
  async drain(delayMs: number): Promise<void> {
    if (delayMs === 0 || this.stopping || !this.server.listening) return;
    this.stopping = true;
    const settleMs = Math.min(SETTLE_MS_MAX, delayMs / 4);
    this.hangUp();
    await delay(delayMs - settleMs);
    this.hangsUp = false;
    await delay(settleMs);
  }

  /**
   * Accepts nothing new, finishes what is in flight, then hangs up; in bounded time. Every connection that was accepted
   * gets the answer to a request that it has sent.
   */
  async close(): Promise<void> {
    if (this.closed !== undefined || !this.server.listening) return;
    this.stopping = true;
    await this.acceptAll();
    this.hangUp();
    // Not that of http.Server, which cuts off every connection that happens to be idle.
    this.closed = new Promise((resolve) => NetServer.prototype.close.call(this.server, () => resolve()));
    const sweep = setInterval(() => setImmediate(() => this.endSilent()), SWEEP_MS);
    const deadlineMs = Math.max(this.options.shutdownTimeoutMs - SHUTDOWN_RESERVE_MS, 50);
    const deadline = setTimeout(() => this.connections.destroyAll(), deadlineMs);
    this.endSilent();
    await this.closed;
    clearInterval(sweep);
    clearTimeout(deadline);
  }

  /**
   * What has connected by now lies in a queue of the kernel, which resets all of it when the port is closed. Node takes
   * one of them in each turn of the event loop, so a turn that takes none has found the queue empty.
   */
  private async acceptAll(): Promise<void> {
    // This turn may have taken its one already.
    await immediate();
    let before: number;
    let turns = 0;
    do {
      before = this.accepted;
      await immediate();
    } while (this.accepted > before && ++turns < ACCEPT_TURNS_MAX);
  }

  /** Whoever waits for an answer is told not to send the next request here. */
  private hangUp(): void {
    this.hangsUp = true;
    for (const res of this.options.inFlight) this.connections.closeAfter(res);
  }

  private endSilent(): void {
    const busy = new Set<Socket>();
    for (const res of this.options.inFlight) busy.add(res.req.socket);
    this.connections.endSilent(busy, performance.now());
  }

  private handle(req: Request, res: Response, broken?: BrokenStatus): void {
    const { metrics, express, inFlight } = this.options;
    const given = req.headers['x-request-id'];
    req.requestId = typeof given === 'string' && REQUEST_ID.test(given) ? given : makeRequestId();
    req.startedAt = performance.now();
    if (!this.connections.receive(res)) {
      req.resume();
      return;
    }
    if (this.hangsUp) this.connections.closeAfter(res);
    inFlight.add(res);
    // Emitted once for every response: after it was sent, or when the caller hung up.
    res.on('close', () => this.finish(req, res));
    const hasNoHost = req.headers.host === undefined && req.httpVersionMinor === 1;
    if (broken !== undefined || hasNoHost) {
      sendBroken(req, res, broken ?? 400);
      return;
    }
    const refusal = this.refusalOf(req);
    if (refusal === undefined) {
      express.app(req, res);
      return;
    }
    metrics.countDropped(refusal.code);
    sendProblem(req, res, refusal);
  }

  private refusalOf(req: Request): Refusal | undefined {
    const { guard, inFlight } = this.options;
    const { overload } = inFlight;
    if (overload !== undefined && !OPERATION_PATHS.has(pathOf(req))) return overload;
    return guard.check(req);
  }

  /** What Node's parser could not read. Whole requests that came before it on the connection are answered first. */
  private answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
    // Node reports the same again for everything that still comes in.
    if (this.broken.has(socket)) return;
    this.broken.add(socket);
    const answer = (): void => answerBroken(socket, brokenStatusOf(error.code), makeRequestId());
    let before = 0;
    for (const res of this.options.inFlight) {
      if (res.req.socket !== socket || !res.req.complete) continue;
      before++;
      res.once('close', () => {
        if (--before === 0) answer();
      });
    }
    if (before === 0) answer();
  }

  private finish(req: Request, res: Response): void {
    const { connections } = this;
    const { metrics, inFlight, log, slowRequestMs } = this.options;
    inFlight.remove(res);
    connections.finish(res);
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
