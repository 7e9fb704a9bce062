import type { ChildProcess } from 'node:child_process';
import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LauncherError } from './launcher-error.js';
import { bindError, freePort } from './ports.js';
import type { ProcessGroups } from './process-groups.js';
import type { Say } from './say.js';
import { type ProcessSpec, SupervisedProcess } from './supervised-process.js';

/** Where every private store listens: there is nothing in front of it. */
export const privateHost = '127.0.0.1';

const preferredPorts = 20;
const portAttemptsMax = 5;
const answerMsMax = 15_000;
const busyMsMax = 600_000;
const reportMs = 5000;
const pollMs = 25;
const stopMsMax = 15_000;
/** A server whose launcher was killed ends by itself: the guard gives it 2 s and 5 s for each of its signals. */
const leftoverMsMax = 20_000;
const logTailBytes = 2000;

export type ServerAnswer =
  | { readonly kind: 'ready' }
  /** It will answer once it is done; `doing` completes the sentence "redis …". */
  | { readonly kind: 'busy'; readonly doing: string }
  | { readonly kind: 'away' };

export interface PrivateServerSpec {
  /** Shown in front of its lines; `<name>.log` in the folder is its log. */
  readonly name: string;
  /** Its proper name. */
  readonly title: string;
  /** Exists; keeps the port and the log. */
  readonly folder: string;
  /** The first of some ports tried after the one used before; then any free one. Below those of outgoing connections. */
  readonly port: number;
  /** What its log says when another program has the port. */
  readonly portTaken: RegExp;
  readonly spawn: (port: number) => ChildProcess;
  /** How it ends; see ProcessSpec. */
  readonly signals?: Pick<ProcessSpec, 'stopSignal' | 'abortSignal'>;
  /** How the process `pid` answers; another server on the same port may answer in its place. */
  readonly ask: (port: number, pid: number) => Promise<ServerAnswer>;
  /** The process of the last run while it still uses the data. */
  readonly predecessor: () => Promise<number | undefined>;
}

export interface PrivateServerContext {
  readonly groups: ProcessGroups;
  readonly say: Say;
}

/**
 * A server that the launcher runs for itself on a loopback port, which stays the same from run to run where it can.
 * Started again, on the same port and data, whenever it ends.
 */
export class PrivateServer {
  private process: SupervisedProcess | undefined;

  constructor(
    private readonly spec: PrivateServerSpec,
    private readonly context: PrivateServerContext,
  ) {}

  /** Resolves with the port once it answers. @throws LauncherError with the end of its log. */
  async start(signal: AbortSignal): Promise<number> {
    await this.whenPredecessorGone(signal);
    for (let attempt = 1; attempt <= portAttemptsMax; attempt += 1) {
      const port = await this.choosePort();
      if (await this.runs(port, signal)) {
        await writeFile(this.file('port'), `${port}\n`);
        return port;
      }
      // Somebody took the port between our look and our start: look again.
    }
    throw new LauncherError(`no free port for ${this.spec.title} in ${portAttemptsMax} attempts`);
  }

  async stop(): Promise<void> {
    if (this.process === undefined) return;
    await this.process.stop(stopMsMax);
    this.context.say('stopped', this.spec.name);
  }

  /** Starts it and waits until it answers; false when its port was taken after all. @throws LauncherError */
  private async runs(port: number, signal: AbortSignal): Promise<boolean> {
    const { spec } = this;
    const { groups, say } = this.context;
    let answered = false;
    const log = this.file(`${spec.name}.log`);
    await rename(log, `${log}.1`).catch(() => undefined);
    const server = new SupervisedProcess({
      name: spec.name,
      groups,
      say,
      ...spec.signals,
      spawn: () => spec.spawn(port),
      onStart: ({ pid }, previousEnd) => {
        if (previousEnd !== undefined) say(spec.name, `pid ${pid}`);
      },
      restarts: () => answered,
    });
    this.process = server;
    server.start();
    const startedAt = performance.now();
    let reportAt = startedAt + reportMs;
    while (server.pid !== undefined) {
      const answer = await spec.ask(port, server.pid);
      if (answer.kind === 'ready') {
        answered = true;
        return true;
      }
      const now = performance.now();
      if (now - startedAt > (answer.kind === 'busy' ? busyMsMax : answerMsMax)) break;
      if (now > reportAt) {
        say(spec.name, answer.kind === 'busy' ? answer.doing : 'does not answer yet');
        reportAt = now + reportMs;
      }
      await delay(pollMs, undefined, { signal });
    }
    const tail = await logTail(log);
    if (server.ended !== undefined && spec.portTaken.test(tail)) return false;
    const how = server.ended?.how ?? `no answer within ${answerMsMax / 1000} s`;
    throw new LauncherError(`${spec.title} does not start (${how}). The end of ${log}:\n${tail}`);
  }

  /** Two servers on the same data would destroy it. */
  private async whenPredecessorGone(signal: AbortSignal): Promise<void> {
    const { name, title, folder, predecessor } = this.spec;
    const deadline = performance.now() + leftoverMsMax;
    let said = false;
    for (;;) {
      const pid = await predecessor();
      if (pid === undefined) return;
      if (performance.now() > deadline) {
        throw new LauncherError(`another ${title} (pid ${pid}) still uses ${folder}: stop it first`);
      }
      if (!said) this.context.say(name, `the one of the last run (pid ${pid}) is still ending`);
      said = true;
      await delay(100, undefined, { signal });
    }
  }

  private async choosePort(): Promise<number> {
    const last = Number.parseInt(await readFile(this.file('port'), 'utf8').catch(() => ''), 10);
    const preferred = Array.from({ length: preferredPorts }, (_, index) => this.spec.port + index);
    for (const port of last > 0 ? [last, ...preferred] : preferred) {
      if ((await bindError(privateHost, port)) === undefined) return port;
    }
    return freePort(privateHost);
  }

  private file(name: string): string {
    return join(this.spec.folder, name);
  }
}

async function logTail(path: string): Promise<string> {
  const log = await open(path).catch(() => undefined);
  if (log === undefined) return '(there is none)';
  try {
    const { size } = await log.stat();
    const start = Math.max(0, size - logTailBytes);
    const { buffer } = await log.read({ buffer: Buffer.alloc(size - start), position: start });
    return buffer.toString('utf8').trim();
  } finally {
    await log.close();
  }
}

/** A path for people: relative to the working directory where it lies in it. */
export function shownPath(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.startsWith('..') || isAbsolute(fromHere) ? path : fromHere;
}
