import type { IncomingMessage } from 'node:http';
import { isIPv4 } from 'node:net';
import { Refusal } from '../refusal.js';

export interface HostGuardOptions {
  /** Names under which this API is reached, with or without a port. */
  readonly allowedHosts: readonly string[];
  /** Where others reach this API. */
  readonly publicUrl: string | undefined;
}

/** What must answer whoever asks, and what a job server calls by whatever name it was given. */
const OPEN_PATHS: ReadonlySet<string> = new Set(['/health', '/ready', '/metrics', '/proxy/callback']);
const READING_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

const WRONG_HOST =
  'This API does not answer to the name in Host. ALLOWED_HOSTS and PUBLIC_URL say which it has.';
const CROSS_SITE = 'A page of another origin may not change anything here.';

/**
 * Keeps the pages that a browser shows away from an API that asks for no key. Any page may send a form to
 * `localhost`; a page whose name is made to point here (DNS rebinding) could read the answers too, but cannot choose
 * its `Host`.
 */
export class HostGuard {
  private readonly hosts: ReadonlySet<string>;
  private readonly publicOrigin: string | undefined;
  /** Nearly all requests name the same host. */
  private lastAccepted: string | undefined;

  constructor({ allowedHosts, publicUrl }: HostGuardOptions) {
    const url = publicUrl === undefined ? undefined : new URL(publicUrl);
    this.publicOrigin = url?.origin;
    const names = allowedHosts.map((host) => host.toLowerCase());
    this.hosts = new Set(url === undefined ? names : [...names, url.hostname]);
  }

  /** Also makes an absolute target (`GET http://host/path`) a path. @returns why it is refused */
  check(req: IncomingMessage): Refusal | undefined {
    const { host, origin } = req.headers;
    const named = authorityOf(req);
    if (!this.accepts(named ?? host) || (named !== undefined && !this.accepts(host))) {
      if (!OPEN_PATHS.has(pathOf(req))) return new Refusal('wrong_host', WRONG_HOST);
    }
    if (READING_METHODS.has(req.method!)) return undefined;
    const site = req.headers['sec-fetch-site'];
    // Without an Origin, a page of the same site but another origin is known by its site alone.
    const isForeign = origin === undefined ? site === 'same-site' : !this.isOwn(origin, named ?? host);
    return isForeign || site === 'cross-site' ? new Refusal('cross_site', CROSS_SITE) : undefined;
  }

  /** Only HTTP/1.0 may leave the host out; no browser does. */
  private accepts(host: string | undefined): boolean {
    if (host === undefined || host === this.lastAccepted) return true;
    const lower = host.toLowerCase();
    const name = nameOf(lower);
    if (!isLoopback(name) && !this.hosts.has(name) && !this.hosts.has(lower)) return false;
    this.lastAccepted = host;
    return true;
  }

  private isOwn(origin: string, host: string | undefined): boolean {
    if (origin === this.publicOrigin) return true;
    return origin === `http://${host}` || origin === `https://${host}`;
  }
}

/** The host of an absolute target, whose path becomes the target; undefined for any other. */
function authorityOf(req: IncomingMessage): string | undefined {
  const target = req.url!;
  if (target.startsWith('/') || target === '*') return undefined;
  if (!URL.canParse(target)) return '';
  const { host, pathname, search } = new URL(target);
  req.url = pathname + search;
  return host;
}

/** Without the query. */
export function pathOf({ url }: IncomingMessage): string {
  const end = url!.indexOf('?');
  return end === -1 ? url! : url!.slice(0, end);
}

/** `name[:port]` without the port; empty where it is neither. */
function nameOf(host: string): string {
  const end = host.startsWith('[') ? host.indexOf(']') + 1 : host.indexOf(':');
  if (end === -1) return host;
  return /^(?::\d{1,5})?$/.test(host.slice(end)) ? host.slice(0, end) : '';
}

/** No name under `localhost` can be anybody's but this machine's. */
function isLoopback(name: string): boolean {
  if (name === 'localhost' || name === '[::1]' || name.endsWith('.localhost')) return true;
  return name.startsWith('127.') && isIPv4(name);
}
