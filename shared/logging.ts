import { type Logger, pino, stdSerializers } from 'pino';

export type { Logger };

/**
 * JSON lines; readable on a terminal. Nothing secret is ever handed to the logger: no bodies, no Redis URL with
 * its password, no tokens; the redaction is the second net.
 */
export function createLogger(component: string, level: string): Logger {
  const base = { component, pid: process.pid };
  const redact = ['password', 'token', '*.password', '*.token', 'headers.authorization', 'headers.cookie'];
  const serializers = { err: errorWithoutCommand };
  if (!process.stdout.isTTY) return pino({ level, base, redact, serializers });
  return pino({
    level,
    base,
    redact,
    serializers,
    transport: {
      target: 'pino-pretty',
      options: {
        ignore: 'pid,hostname,component',
        translateTime: 'SYS:HH:MM:ss.l',
        messageFormat: '[{component} {pid}] {msg}',
        singleLine: true,
      },
    },
  });
}

/** `redis://user:secret@host/0` → `redis://host/0`: for logs and errors. */
export function withoutPassword(url: string): string {
  const parsed = new URL(url);
  parsed.username = '';
  parsed.password = '';
  return parsed.toString();
}

/** The driver hangs the whole command on its errors: documents, ids, leases. None of it belongs into a log. */
export function errorWithoutCommand(error: Error): object {
  const { command, ...rest } = stdSerializers.err(error) as { command?: { name?: string } } & Record<
    string,
    unknown
  >;
  return command?.name === undefined ? rest : { ...rest, command: command.name };
}
