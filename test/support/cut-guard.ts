import type { Script } from '../../shared/redis/script.js';

/** The guards of commit.lua, marked there as `--<name>` … `--</name>`. */
export type Guard = 'fence' | 'seq';

/** Takes one guard out of a script, so that a test can show what goes wrong without it. */
export function cutGuard(script: Script, guard: Guard): void {
  const marked = new RegExp(`--<${guard}>[^]*--</${guard}>`);
  if (!marked.test(script.lua)) throw new Error(`the script has no guard ${guard}`);
  Object.defineProperty(script, 'lua', { value: script.lua.replace(marked, '') });
}
