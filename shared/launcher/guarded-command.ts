import { type ChildProcess, spawn } from 'node:child_process';

/**
 * A store knows nothing of an IPC channel, so a shell waits beside it for the end of the launcher: the pipe on
 * descriptor 3 ends when the launcher does, even by kill -9. Then the API and the workers get 2 s to let go of their
 * work, the store its SIGTERM, and SIGKILL if it is still there 5 s later.
 *
 * The shell becomes the store (`exec`), so the child's pid and status are the store's own. The watching subshell stays
 * in its process group, which is ended with it. It reads with a builtin: no further process.
 */
const guardScript = `
{
  while read -r _; do :; done
  sleep 2
  kill -TERM $$
  n=0
  while [ $n -lt 50 ] && kill -0 $$; do sleep 0.1; n=$((n + 1)); done
  kill -KILL $$
} <&3 >/dev/null 2>&1 &
exec "$@" 3<&-
`;

export function spawnGuarded(command: string, args: readonly string[], cwd: string): ChildProcess {
  return spawn('sh', ['-c', guardScript, 'weir-guard', command, ...args], {
    cwd,
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  });
}
