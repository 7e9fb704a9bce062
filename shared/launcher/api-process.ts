import type { ChildProcess } from 'node:child_process';
import { API_NODE_FLAGS } from '../api-node-flags.js';
import { LauncherError } from './launcher-error.js';
import { type NodeProcesses, spawnNode, stopMsMax } from './node-process.js';
import { SupervisedProcess } from './supervised-process.js';

/** An API that refuses to start this often (its log says why) will not do so the next time either. */
const failedStartsMax = 3;

export interface ApiProcess {
  /** Resolves with the URL for clients on this machine once the API has bound its port for the first time. */
  readonly listening: Promise<string>;
  stop(): Promise<void>;
}

/**
 * Runs the API, and starts it again for ever once it has listened. One that exits before it ever did stops
 * the launcher: its port or its configuration is wrong, and a loop would only hide that.
 */
export function startApi(processes: NodeProcesses, entry: string): ApiProcess {
  const { config, groups, say, stop } = processes;
  let port = config.PORT;
  let url: string | undefined;
  let failedStarts = 0;
  let listens: (url: string) => void = () => undefined;
  const listening = new Promise<string>((resolve, reject) => {
    listens = resolve;
    stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true });
  });

  const onListening = (message: unknown, child: ChildProcess): void => {
    const bound = listeningPort(message);
    if (bound === undefined) return;
    const again = url === undefined ? '' : `  pid ${child.pid}`;
    // PORT=0: the port found first is kept when the API is started again, because clients know it.
    port = bound;
    url = localUrl(config.HOST, port);
    say('api', `${url}  (${exposure(config.HOST)})${again}`);
    listens(url);
  };

  const api = new SupervisedProcess({
    name: 'api',
    groups,
    say,
    spawn: () => spawnNode(processes, entry, { PORT: String(port) }, API_NODE_FLAGS),
    onStart: (child) => {
      child.on('message', (message) => onListening(message, child));
    },
    restarts: ({ how, exitCode }) => {
      if (url !== undefined || exitCode === undefined) return true;
      failedStarts += 1;
      if (failedStarts < failedStartsMax) return true;
      stop.fail(
        new LauncherError(`the API does not start (${how}, ${failedStarts} times): see its log above`),
      );
      return false;
    },
  });
  api.start();
  return {
    listening,
    async stop() {
      await api.stop(config.SHUTDOWN_DELAY_MS + stopMsMax(config));
      say('stopped', 'api');
    },
  };
}

/** The port in `{type: 'listening', url}`; undefined for any other message. */
function listeningPort(message: unknown): number | undefined {
  if (typeof message !== 'object' || message === null) return undefined;
  const { type, url } = message as { readonly type?: unknown; readonly url?: unknown };
  if (type !== 'listening' || typeof url !== 'string' || !URL.canParse(url)) return undefined;
  // URL drops the default port.
  return Number(new URL(url).port || 80);
}

const wildcards: Readonly<Record<string, string>> = {
  '0.0.0.0': '127.0.0.1',
  '::': '[::1]',
  '': '127.0.0.1',
};

function localUrl(host: string, port: number): string {
  const name = wildcards[host] ?? (host.includes(':') ? `[${host}]` : host);
  return `http://${name}:${port}`;
}

function exposure(host: string): string {
  const loopback = host === 'localhost' || host === '::1' || host.startsWith('127.');
  return loopback
    ? 'loopback only: there are no API keys yet'
    : `WARNING: bound to ${host}, and there are no API keys yet: whoever reaches it may do everything`;
}
