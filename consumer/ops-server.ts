import { createServer, type Server } from 'node:http';
import type { Registry } from 'prom-client';
import { listenError, opsAddress } from '../shared/listen-error.js';
import { VERSION } from '../shared/version.js';

/** A connection that has not sent a request is not idle for Node. */
const CLOSE_MS_MAX = 500;

const HEALTH = JSON.stringify({ status: 'ok', version: VERSION });

/**
 * A worker's own `/health` and `/metrics`. Nothing else: workers take no requests. Resolves with the URL once it listens.
 * @throws SetupError when it cannot
 */
export async function startOpsServer(
  registry: Registry,
  host: string,
  port: number,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.method === 'GET' && request.url === '/health') {
      response.setHeader('Content-Type', 'application/json').end(HEALTH);
    } else if (request.method === 'GET' && request.url === '/metrics') {
      registry.metrics().then(
        (text) => response.setHeader('Content-Type', registry.contentType).end(text),
        () => response.writeHead(500).end(),
      );
    } else {
      response.writeHead(404).end();
    }
  });
  await listen(server, host, port);
  const address = server.address();
  const actual = typeof address === 'object' && address !== null ? address.port : port;
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${actual}`, close: () => close(server) };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', ({ code = '' }: NodeJS.ErrnoException) => {
      reject(listenError(code, opsAddress(host, port)));
    });
    server.listen(port, host, resolve);
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // Closes idle connections too; a scrape that is under way gets its answer.
    server.close(() => resolve());
    setTimeout(() => server.closeAllConnections(), CLOSE_MS_MAX).unref();
  });
}
