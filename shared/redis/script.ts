import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';

/** A line of a script that stands for another file, by its path in the repository: Redis scripts share nothing. */
const INCLUDE = /^--<include (\S+)>$/gm;

export type RedisArgument = string | number | Buffer;

/**
 * A Lua script that lies beside the module that calls it. Sent by hash; a server that does not know it
 * (restart, SCRIPT FLUSH) gets the text again without the caller noticing.
 */
export class Script {
  private static readonly all: Script[] = [];
  readonly lua: string;
  private readonly command: string;

  /**
   * @param moduleUrl `import.meta.url` of the calling module
   * @param file name of the .lua file beside it
   */
  constructor(moduleUrl: string, file: string) {
    this.lua = readFileSync(new URL(file, moduleUrl), 'utf8').replace(INCLUDE, (_line, path: string) =>
      readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'),
    );
    this.command = `weir_${file.replace(/\W/g, '_')}`;
    if (Script.all.some(({ command }) => command === this.command)) {
      throw new Error(`two scripts are called ${file}: a connection would know only one of them`);
    }
    Script.all.push(this);
  }

  /**
   * Makes every script known to a connection, before it is used: a pipeline knows only the scripts that its
   * connection knew when the pipeline was made, and fails for any other in a way nobody can catch.
   */
  static defineAll(redis: Redis): void {
    for (const script of Script.all) redis.defineCommand(script.command, { lua: script.lua });
  }

  /** Runs it. The reply is whatever the script returns: the caller decodes it at once. */
  run(redis: Redis, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> {
    const client = redis as unknown as Record<
      string,
      (count: number, keys: readonly string[], args: readonly RedisArgument[]) => Promise<unknown>
    >;
    if (client[this.command] === undefined) redis.defineCommand(this.command, { lua: this.lua });
    // As arrays, which the driver flattens: a call has room for about 120,000 arguments, a commit may have more.
    return client[this.command]!(keys.length, keys, args);
  }
}
