import type { Socket } from 'node:net';

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
    this.open.set(socket, { bytesRead: 0, silentSince: undefined, endedAt: undefined });
    socket.once('close', () => this.open.delete(socket));
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

/** What was seen of a connection since all are to end. */
interface Seen {
  bytesRead: number;
  silentSince: number | undefined;
  /** When we closed our half. */
  endedAt: number | undefined;
}
