import { type ChildProcess, spawn } from 'node:child_process';

/**
 * A store knows nothing of an IPC channel, so a shell waits beside it for the end of the launcher: the pipe on
 * descriptor 3 ends when the launcher does, even by kill -9. Then the API and the workers get 2 s to let go of their
 * work, the store its first signal, the next one after 5 s each, and in the end SIGKILL.
 *
 * The shell becomes the store (`exec`), so the child's pid and status are the store's own. The watching subshell stays
 * in its process group, which is ended with it; it leaves by itself when the store is gone. It reads with a builtin: no
 * further process.
 */
const guardScript = `
signals=$1
shift
{
  gone() {
    n=0
    while [ $n -lt $1 ]; do kill -0 $$ || exit; sleep 0.1; n=$((n + 1)); done
  }
  while read -r _; do :; done
  gone 20
  for signal in $signals; do
    kill -$signal $$
    gone 50
  done
  kill -KILL $$
} <&3 >/dev/null 2>&1 &
exec "$@" 3<&-
`;

export interface GuardedOptions {
  readonly cwd: string;
  /** Gentlest first. */
  readonly stopSignals: readonly NodeJS.Signals[];
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
  /** File descriptor for stdout and stderr; default: no stdout, our stderr. */
  readonly log?: number;
}

export function spawnGuarded(
  command: string,
  args: readonly string[],
  { stopSignals, log, ...options }: GuardedOptions,
): ChildProcess {
  // `kill` wants them without SIG.
  const signals = stopSignals.map((name) => name.slice('SIG'.length)).join(' ');
  return spawn('sh', ['-c', guardScript, 'weir-guard', signals, command, ...args], {
    ...options,
    detached: true,
    stdio: ['ignore', log ?? 'ignore', log ?? 'inherit', 'pipe'],
  });
}
