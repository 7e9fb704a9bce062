import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly body: string;
}

interface Pending {
  readonly resolve: (answer: RawAnswer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A connection that sends prepared bytes and reads one answer at a time, and nothing else: what a client of Node's own
 * costs besides would be taken from what is measured on the same machine. Answers have a Content-Length, in ASCII.
 */
export class RawConnection {
  private pending: Pending | undefined;
  private text = '';

  private constructor(private readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => this.read(chunk as unknown as string));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('the server closed the connection')));
  }

  static open(url: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect({ host: hostname, port: Number(port) });
      socket.once('error', reject);
      socket.once('connect', () => resolve(new RawConnection(socket)));
    });
  }

  /** @param request whole, with its head; must not change until it is answered */
  request(request: Uint8Array): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      this.pending = { resolve, reject };
      this.socket.write(request);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private read(chunk: string): void {
    this.text += chunk;
    const head = this.text.indexOf('\r\n\r\n');
    if (head === -1) return;
    const length = /\r\ncontent-length: *(\d+)/i.exec(this.text.slice(0, head))?.[1];
    if (length === undefined) {
      this.fail(new Error(`no Content-Length: ${this.text.slice(0, head)}`));
      return;
    }
    const end = head + 4 + Number(length);
    if (this.text.length < end) return;
    const answer = { status: Number(this.text.slice(9, 12)), body: this.text.slice(head + 4, end) };
    this.text = this.text.slice(end);
    const { pending } = this;
    this.pending = undefined;
    pending?.resolve(answer);
  }

  private fail(error: Error): void {
    this.pending?.reject(error);
    this.pending = undefined;
    this.socket.destroy();
  }
}

/** The bytes of a GET. */
export function getRequest(path: string, headers: Readonly<Record<string, string>> = {}): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\n${headLines(headers)}\r\n`, 'latin1');
}

export function headLines(headers: Readonly<Record<string, string>>): string {
  return Object.entries({ Host: 'bench', ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}
