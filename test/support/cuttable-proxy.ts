import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './redis-server.js';

/** A TCP proxy before Redis that can be cut and mended: one process loses the store, the others do not. */
export class CuttableProxy {
  private readonly sockets = new Set<Socket>();
  private isCut = false;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(redisUrl: string): Promise<CuttableProxy> {
    const target = Number(new URL(redisUrl).port);
    const port = await freePort();
    const server = createServer();
    const proxy = new CuttableProxy(server, `redis://127.0.0.1:${port}`);
    server.on('connection', (client) => proxy.connect(client, target));
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return proxy;
  }

  /** Breaks every connection, and every new one, until it is mended. */
  cut(): void {
    this.isCut = true;
    for (const socket of this.sockets) socket.destroy();
  }

  mend(): void {
    this.isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private connect(client: Socket, target: number): void {
    if (this.isCut) {
      client.destroy();
      return;
    }
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
    client.pipe(redis);
    redis.pipe(client);
  }
}
