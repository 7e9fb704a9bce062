import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { fileURLToPath } from 'node:url';

/** An API process on a free port. */
export class ApiProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  static async start(environment: Readonly<Record<string, string>>): Promise<ApiProcess> {
    const path = fileURLToPath(new URL('../../api/main.js', import.meta.url));
    const child = spawn(process.execPath, [path], {
      env: { PATH: process.env['PATH'], PORT: '0', LOG_LEVEL: 'silent', ...environment },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const url = await new Promise<string>((resolve, reject) => {
      child.on('message', (message: { type?: string; url?: string }) => {
        if (message.type === 'listening' && message.url !== undefined) resolve(message.url);
      });
      child.once('exit', (code, signal) => reject(new Error(`the API ended: ${signal ?? code}`)));
    });
    return new ApiProcess(child, url);
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const gone = new Promise<number | null>((resolve) => this.child.once('exit', (code) => resolve(code)));
    this.child.kill(signal);
    return gone;
  }
}

/** APIs side by side. One that is killed is replaced, elsewhere: its callers go to another one, or ask in vain for a while. */
export class ApiFleet {
  private constructor(
    private readonly environment: Readonly<Record<string, string>>,
    private readonly apis: ApiProcess[],
  ) {}

  static async start(count: number, environment: Readonly<Record<string, string>>): Promise<ApiFleet> {
    const starting = Array.from({ length: count }, () => ApiProcess.start(environment));
    return new ApiFleet(environment, await Promise.all(starting));
  }

  /** Where they listen, or did. */
  get urls(): readonly string[] {
    return this.apis.map(({ url }) => url);
  }

  /** Ends a random one with SIGKILL. Resolves when another one is there for it. One call at a time. */
  async killOne(): Promise<void> {
    const index = randomInt(0, this.apis.length);
    await this.apis[index]!.end('SIGKILL');
    this.apis[index] = await ApiProcess.start(this.environment);
  }

  async close(): Promise<void> {
    await Promise.all(this.apis.map((api) => api.end('SIGKILL')));
  }
}
