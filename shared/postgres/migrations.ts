import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The numbered SQL files; the build copies them beside this module. */
export const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));

/** Names without `.sql`, in the order in which they are applied. */
export function migrationNames(folder: string = migrationsFolder): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .map((file) => file.slice(0, -'.sql'.length))
    .sort();
}
