import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP relay that counts turns: how often a client spoke again after it had been answered. */
export class TurnCounter {
  turns = 0;
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  static async start(targetUrl: string): Promise<TurnCounter> {
    const { hostname, port } = new URL(targetUrl);
    const server = createServer();
    const counter = new TurnCounter(server);
    server.on('connection', (client) => counter.relay(client, connect(Number(port), hostname)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return counter;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private relay(client: Socket, target: Socket): void {
    let answered = true;
    for (const [from, to, isClient] of [
      [client, target, true],
      [target, client, false],
    ] as const) {
      this.sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
      from.on('data', (bytes) => {
        if (isClient && answered) this.turns += 1;
        answered = !isClient;
        to.write(bytes);
      });
    }
  }
}
