import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Redis } from 'ioredis';
import { loadConfig } from '../../../shared/load-config.js';

/**
 * Ready when Redis answers. Any other path answers with the length of a list, to which a POST appends first. Ends
 * only when SIGTERM has given a client that is connected the time to ask once more: `GET /finish` ends it.
 */
const config = loadConfig();
if (process.env['STAND_IN_API_FAILS'] !== undefined) process.exit(3);
const redis = new Redis(config.redisUrl!);
redis.on('error', () => undefined);
let stopping = false;

const server = createServer(async (request, response) => {
  try {
    if (request.url === '/ready') await redis.ping();
    if (request.method === 'POST') await redis.rpush('list', '1');
    response.end(String(await redis.llen('list')));
  } catch {
    response.writeHead(503).end('{"checks":{"redis":"away"}}');
  }
  if (stopping && request.url === '/finish') end();
});

function end(): void {
  process.stdout.write('stand-in api ends\n');
  process.exit(0);
}

server.listen(config.PORT, config.HOST, () => {
  const { port } = server.address() as AddressInfo;
  process.send?.({ type: 'listening', url: `http://${config.HOST}:${port}` });
});
process.on('SIGTERM', () => {
  stopping = true;
  process.stdout.write('stand-in api is stopping\n');
  if (process.env['STAND_IN_API_LINGERS'] === undefined) end();
});
process.on('disconnect', () => process.exit(0));
