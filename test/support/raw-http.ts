import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A connection to an API on which a test writes what it likes. */
export class RawConnection {
  /** Everything that came back. */
  received = '';
  readonly closed: Promise<unknown>;

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    this.closed = once(socket, 'close');
  }

  static async open(url: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    const connection = new RawConnection(socket);
    await once(socket, 'connect');
    return connection;
  }

  write(text: string): void {
    this.socket.write(text);
  }

  /** The statuses of all answers so far, in order. */
  get statuses(): readonly number[] {
    return [...this.received.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
  }

  /** The last answer's body, where it is JSON. */
  get body(): Readonly<Record<string, unknown>> {
    return JSON.parse(this.received.slice(this.received.lastIndexOf('\r\n\r\n') + 4)) as Record<
      string,
      unknown
    >;
  }

  /** A header of the last answer. */
  header(name: string): string | undefined {
    const head = this.received.slice(this.received.lastIndexOf('HTTP/1.1 '));
    return new RegExp(`^${name}: (.*)\r$`, 'im').exec(head)?.[1];
  }

  destroy(): void {
    this.socket.destroy();
  }
}
