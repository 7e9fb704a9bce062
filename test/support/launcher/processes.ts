import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface ProcessEntry {
  readonly pid: number;
  readonly command: string;
}

/**
 * The living processes of the launcher on a data folder, whoever their parent is by now: those with the folder in
 * their environment, and those that work in it (Redis overwrites its environment with its title). Linux only.
 */
export function processesOf(dataDir: string): readonly ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const belongs =
        read(() => readFileSync(`/proc/${name}/environ`, 'utf8'))
          .split('\0')
          .includes(`WEIR_DATA_DIR=${dataDir}`) ||
        read(() => readlinkSync(`/proc/${name}/cwd`)).startsWith(`${dataDir}/`);
      const command = read(() => readFileSync(`/proc/${name}/cmdline`, 'utf8'))
        .replaceAll('\0', ' ')
        .trim();
      // A zombie has no command line any more.
      return belongs && command !== '' ? [{ pid: Number(name), command }] : [];
    });
}

/** A process that ends while we look at it has nothing to tell. */
function read(text: () => string): string {
  try {
    return text();
  } catch {
    return '';
  }
}
