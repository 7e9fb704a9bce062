import { LauncherError } from './launcher-error.js';

/** The oldest one weir is tested on. Valkey reports the Redis version it is compatible with. */
const majorMin = 7;

/** @throws LauncherError when the version is known and too old. */
export function assertVersion(version: string | undefined, where: string): void {
  if (version === undefined) return;
  if (Number.parseInt(version, 10) >= majorMin) return;
  throw new LauncherError(`${where} is Redis ${version}; weir needs ${majorMin}.0 or newer (or Valkey)`);
}
