import type { Socket } from 'node:net';
import type { Response } from 'express';
import { DISCARD_MS_MAX } from './body.js';

/** A connection that was silent for so long has no request on its way: even the busiest callers pause less. */
const SILENT_MS_MIN = 250;
/** Callers hang up when we do. One that does not is cut off after this many ms. */
const HALF_CLOSED_MS_MAX = 1000;

/**
 * The connections of a server, and how to end them without cutting off a request.
 *
 * A connection is kept alive between two requests, and closing it then may meet a request that is on its way: the
 * caller would see a reset and not know whether it counted. So each gets to send one more, whose answer says
 * `Connection: close`, and only one that stays silent is closed, after it was silent for SILENT_MS_MIN: a pause that
 * a caller at work does not make. It is closed by half, so that what arrives in that moment resets nothing.
 */
export class Connections {
  private readonly open = new Map<Socket, Seen>();

  add(socket: Socket): void {
    const queued = new Set<Response>();
    this.open.set(socket, {
      ...{ last: undefined, queued, bytesRead: 0, silentSince: undefined, endedAt: undefined },
    });
    // One that is lost is closed, which is noticed. Node itself stops to listen after CONNECT.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.open.delete(socket);
      for (const res of queued) if (res.socket === null) abandon(res);
    });
    // Node calls it after an answer that says `Connection: close`.
    socket.destroySoon = () => endGently(socket);
  }

  /**
   * Notes a request.
   * @returns whether it will be answered. Nothing may be done for one that will not: the answer before it closes the
   * connection, or our half is closed already.
   */
  receive(res: Response): boolean {
    const { socket } = res.req;
    const seen = this.open.get(socket);
    if (seen === undefined || !socket.writable) return false;
    const { last, queued } = seen;
    if (res.socket === null) {
      if (last !== undefined && !last.shouldKeepAlive) return false;
      queued.add(res);
    }
    seen.last = res;
    return true;
  }

  finish(res: Response): void {
    const seen = this.open.get(res.req.socket);
    if (seen === undefined) return;
    seen.queued.delete(res);
    if (seen.last === res) seen.last = undefined;
  }

  /** Its answer closes the connection, unless another request of the connection is under way behind it. */
  closeAfter(res: Response): void {
    if (!res.headersSent && this.open.get(res.req.socket)?.last === res) res.shouldKeepAlive = false;
  }

  /**
   * To be called again and again until none is left, each time after everything that has arrived was read.
   * @param busy those with a request under way
   */
  endSilent(busy: ReadonlySet<Socket>, now: number): void {
    for (const [socket, seen] of this.open) {
      if (seen.endedAt !== undefined) {
        if (now - seen.endedAt >= HALF_CLOSED_MS_MAX) socket.destroy();
      } else if (busy.has(socket) || seen.silentSince === undefined || socket.bytesRead !== seen.bytesRead) {
        seen.bytesRead = socket.bytesRead;
        seen.silentSince = now;
      } else if (now - seen.silentSince >= SILENT_MS_MIN) {
        seen.endedAt = now;
        socket.end();
      }
    }
  }

  destroyAll(): void {
    for (const socket of this.open.keys()) socket.destroy();
  }
}

/** Node tells a response nothing of the end of its connection while others come before it. */
function abandon(res: Response): void {
  res.destroyed = true;
  res.emit('close');
}

/**
 * Closes our half, and the other when the caller has closed it or had time to: closing a connection on which there is
 * something left to read resets it, and the caller loses answers that are on their way.
 */
function endGently(socket: Socket): void {
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), DISCARD_MS_MAX);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

interface Seen {
  /** The request that came last, while it is under way. */
  last: Response | undefined;
  /** Those that came before the answer to the one before them, while they are under way. */
  readonly queued: Set<Response>;
  /** What follows is of the time since all connections are to end. */
  bytesRead: number;
  silentSince: number | undefined;
  /** When we closed our half. */
  endedAt: number | undefined;
}
