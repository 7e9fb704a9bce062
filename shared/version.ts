import { readFileSync } from 'node:fs';

/** dist/shared/ → the folder of package.json, in the image too. */
const PACKAGE = new URL('../../package.json', import.meta.url);

/** The version of weir that this process runs. */
export const VERSION = (JSON.parse(readFileSync(PACKAGE, 'utf8')) as { readonly version: string }).version;
