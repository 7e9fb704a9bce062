import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** The command line of a living process; undefined when there is none with this id (zombies have none either). */
export function processCommand(pid: number): string | undefined {
  try {
    const command = hasProc()
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      : ps(pid, 'command');
    return command.trim() === '' ? undefined : command.trim();
  } catch {
    return undefined;
  }
}

/** When a process was started, as the system tells it: with the pid it names one process. undefined: there is none. */
export function processStart(pid: number): string | undefined {
  try {
    if (!hasProc()) return ps(pid, 'lstart').trim() || undefined;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // pid (name) state …, the start is the 22nd; the name may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function hasProc(): boolean {
  return existsSync('/proc/self/cmdline');
}

function ps(pid: number, column: 'command' | 'lstart'): string {
  return execFileSync('ps', ['-ww', '-o', `${column}=`, '-p', String(pid)], {
    encoding: 'utf8',
    timeout: 5000,
  });
}
