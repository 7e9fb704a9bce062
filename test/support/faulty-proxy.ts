import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './redis-server.js';

/** Part of every commit that changes a document, and of nothing else a worker sends. */
const COMMIT_MARK = '$4\r\nMSET\r\n';
/** The reply of a commit that was applied. */
const APPLIED_MARK = '$2\r\nOK\r\n';

interface HeldChunk {
  readonly bytes: Buffer;
  readonly to: Socket;
}

/**
 * A TCP proxy before Redis for the two faults that no test hits by chance: a commit that is applied while its
 * reply is lost, and a commit that arrives when its sender has long lost the lease.
 */
export class FaultyProxy {
  /** Replies swallowed so far. */
  swallowed = 0;
  private swallowing: string | undefined;
  private holding: 'off' | 'armed' | 'on' = 'off';
  private held: HeldChunk[] = [];
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly port: number,
  ) {}

  static async start(redisUrl: string): Promise<FaultyProxy> {
    const target = Number(new URL(redisUrl).port);
    const port = await freePort();
    const server = createServer();
    const proxy = new FaultyProxy(server, port);
    server.on('connection', (client) => proxy.connect(client, target));
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** The next commit is applied, but its reply is swallowed and the connection cut. */
  swallowNextCommitReply(): void {
    this.swallowNextReply(APPLIED_MARK);
  }

  /** The next piece of replies with `mark` in it is swallowed and the connection cut. */
  swallowNextReply(mark: string): void {
    this.swallowing = mark;
  }

  /** From the next commit on, nothing that is sent reaches Redis until it is released. */
  holdFromNextCommit(): void {
    this.holding = 'armed';
  }

  /** Commits that wait here. */
  get heldCommits(): number {
    return this.held.filter(({ bytes }) => bytes.includes(COMMIT_MARK)).length;
  }

  /** Lets the first held piece through: the commit, with nothing behind it. */
  releaseFirst(): void {
    const first = this.held.shift();
    first?.to.write(first.bytes);
  }

  releaseAll(): void {
    this.holding = 'off';
    for (const { bytes, to } of this.held.splice(0)) to.write(bytes);
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private connect(client: Socket, target: number): void {
    const redis = createConnection(target, '127.0.0.1');
    for (const socket of [client, redis]) {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        client.destroy();
        redis.destroy();
      });
    }
    client.on('data', (chunk) => {
      if (this.holding === 'off') {
        redis.write(chunk);
        return;
      }
      // Command by command: what the client sent in one go after a commit must not slip through with it.
      for (const bytes of splitCommands(chunk)) {
        if (this.holding === 'armed' && bytes.includes(COMMIT_MARK)) this.holding = 'on';
        if (this.holding === 'on') this.held.push({ bytes, to: redis });
        else redis.write(bytes);
      }
    });
    redis.on('data', (bytes) => {
      if (this.swallowing !== undefined && bytes.includes(this.swallowing)) {
        this.swallowing = undefined;
        this.swallowed += 1;
        client.destroy();
        return;
      }
      client.write(bytes);
    });
  }
}

/** Cuts a piece of a client's stream, which begins with a command, into commands; the last may be incomplete. */
function splitCommands(chunk: Buffer): Buffer[] {
  const commands: Buffer[] = [];
  for (let start = 0; start < chunk.length; ) {
    const end = endOfCommand(chunk, start);
    commands.push(chunk.subarray(start, end));
    start = end;
  }
  return commands;
}

/** A command is `*<words>`, then for each word `$<bytes>` and the word, each with CR LF. */
function endOfCommand(chunk: Buffer, start: number): number {
  let at = start;
  const line = (): number => {
    const end = chunk.indexOf('\r\n', at);
    const value = Number(chunk.toString('latin1', at + 1, end));
    at = end === -1 ? chunk.length : end + 2;
    return value;
  };
  for (let words = line(); words > 0 && at < chunk.length; words -= 1) {
    const bytes = line();
    at += bytes + 2;
  }
  return Math.min(at, chunk.length);
}
