import { processCommand, processStart } from './process-command.js';

/** `launcher/main.js` as an argument of its own: an editor that has such a file open is no launcher. */
const LAUNCHER = /^\S*node\S* (\S+ )*\S*launcher\/main\.js( |$)/;

/** What a launcher writes of itself into the data folder: pids are used again, with the start they name one process. */
export interface LauncherIdentity {
  readonly pid: number;
  /** undefined: written by an older version. */
  readonly start: string | undefined;
}

export function ownIdentity(): LauncherIdentity {
  return { pid: process.pid, start: processStart(process.pid) };
}

export function isRunning({ pid, start }: LauncherIdentity): boolean {
  const command = processCommand(pid);
  if (command === undefined || !LAUNCHER.test(command)) return false;
  return start === undefined || start === processStart(pid);
}
