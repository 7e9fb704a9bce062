import { type ChildProcess, spawn } from 'node:child_process';
import type { Config } from '../config.js';
import type { ProcessGroups } from './process-groups.js';
import type { Say } from './say.js';
import type { StopRequest } from './stop-request.js';

/** What the API and the workers are started with. */
export interface NodeProcesses {
  readonly config: Config;
  /** Folder of package.json. */
  readonly root: string;
  readonly groups: ProcessGroups;
  readonly say: Say;
  readonly stop: StopRequest;
  /** Variables that the launcher found out: the addresses of the stores. */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Starts `node <entry>` with an IPC channel: its end is how the child learns that the launcher is gone. The entry
 * stays relative, so that the name of the folder we live in is no part of the command line.
 */
export function spawnNode(
  { root, environment }: NodeProcesses,
  entry: string,
  extra: Readonly<Record<string, string>>,
  flags: readonly string[] = [],
): ChildProcess {
  return spawn(process.execPath, [...flags, entry], {
    cwd: root,
    env: { ...process.env, ...environment, ...extra },
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

/** A process gives itself SHUTDOWN_TIMEOUT_MS to end; a little more before it is killed. */
export function stopMsMax(config: Config): number {
  return config.SHUTDOWN_TIMEOUT_MS + 1000;
}
