import { SetupError } from './setup-error.js';

/** Where a server was to listen, and the settings that say so. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  readonly hostSetting: string;
  readonly portSetting: string;
}

export function apiAddress(host: string, port: number): ListenAddress {
  return { host, port, hostSetting: 'HOST', portSetting: 'PORT' };
}

export function opsAddress(host: string, port: number): ListenAddress {
  return { host, port, hostSetting: 'OPS_HOST', portSetting: 'OPS_PORT' };
}

/** Why a server cannot listen there, for the person who started it; `code` is that of the operating system. */
export function listenError(code: string, address: ListenAddress): SetupError {
  const { host, port, hostSetting, portSetting } = address;
  return code === 'EADDRINUSE'
    ? new SetupError(
        `port ${port} on ${host} is in use by another program: end it, or set ${portSetting} (${portSetting}=0 takes a free one)`,
      )
    : new SetupError(`cannot listen on ${host}:${port} (${code}): set ${hostSetting} or ${portSetting}`);
}
