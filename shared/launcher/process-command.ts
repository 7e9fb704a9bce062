import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** The command line of a living process; undefined when there is none with this id (zombies have none either). */
export function processCommand(pid: number): string | undefined {
  try {
    const command = existsSync('/proc/self/cmdline')
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      : execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8', timeout: 5000 });
    return command.trim() === '' ? undefined : command.trim();
  } catch {
    return undefined;
  }
}
