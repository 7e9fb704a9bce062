import { isAscii, isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import type { Request } from 'express';
import { Refusal } from '../refusal.js';
import type { InFlight } from './in-flight.js';
import { isTooDeep, LEVELS_MAX } from './nesting.js';

export interface BodyLimits {
  /** Largest body, in bytes. */
  readonly bytesMax: number;
  /** Bodies that are not whole yet, of all requests together, and their bytes. */
  readonly unfinishedMax: number;
  readonly unfinishedBytesMax: number;
}

/** What a body may be. A path takes some of them. */
export type BodyKind = 'json' | 'ndjson' | 'cloudevent' | 'cloudevent-batch';

const KINDS: ReadonlyMap<string, BodyKind> = new Map([
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['application/ndjson', 'ndjson'],
  ['application/cloudevents+json', 'cloudevent'],
  ['application/cloudevents-batch+json', 'cloudevent-batch'],
]);

const JSON_ONLY: readonly BodyKind[] = ['json'];

/** How much of a body that nobody wants is read and thrown away, so that the caller gets to read our answer. */
const DISCARD_BYTES_MAX = 16 * 1024 * 1024;
export const DISCARD_MS_MAX = 5000;

/** Thrown when the caller hung up before the body was complete: nobody is left to answer. */
export class BodyAborted extends Error {
  constructor() {
    super('the caller hung up before the body was complete');
    this.name = 'BodyAborted';
  }
}

/** Reads and decodes bodies. One per process: it knows how much all requests hold. */
export class BodyReader {
  private unfinished = 0;
  private heldBytes = 0;

  constructor(
    private readonly limits: BodyLimits,
    private readonly inFlight: InFlight,
  ) {}

  /** Reads a JSON body. @throws Refusal 413, 415, 400 malformed_json; BodyAborted */
  readJson(req: IncomingMessage): Promise<unknown> {
    return this.read(req, JSON_ONLY, (text) => parseJson(text));
  }

  /** Reads a JSON body where there may be none: undefined then. Only what is there needs a content type. */
  async readOptionalJson(req: IncomingMessage): Promise<unknown> {
    const { headers } = req;
    if (headers['content-length'] === '0') return undefined;
    if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined)
      return undefined;
    // In chunks: whether there is anything shows at the end.
    return this.read(req, JSON_ONLY, (text) => (text === '' ? undefined : parseJson(text)), true);
  }

  /** Reads a body of one of these kinds, without parsing it. @throws Refusal 413, 415, 400 for bad UTF-8; BodyAborted */
  readText(req: IncomingMessage, kinds: readonly BodyKind[]): Promise<{ kind: BodyKind; text: string }> {
    return this.read(req, kinds, (text, kind) => ({ kind, text }));
  }

  /**
   * One promise and three listeners for the whole body, none of which is ever taken off: this is on the way of
   * every message, and each of those costs as much as parsing a field.
   */
  private read<T>(
    req: IncomingMessage,
    kinds: readonly BodyKind[],
    convert: (text: string, kind: BodyKind) => T,
    maybeEmpty = false,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const isUntyped = maybeEmpty && req.headers['content-type'] === undefined;
      // What is thrown here, in the executor, rejects the promise.
      const kind = isUntyped ? 'json' : kindOf(req, kinds);
      const declared = req.headers['content-length'];
      // Refused before a byte of it is read.
      if (declared !== undefined && Number(declared) > this.limits.bytesMax) throw this.tooLarge();
      let held: Buffer | undefined;
      let bytes = 0;
      let done = false;
      this.unfinished++;
      this.inFlight.bodyAwaited(req);
      const { expectsContinue, res } = req as Request;
      // Not before: a body that is refused need not be sent.
      if (expectsContinue) res!.writeContinue();
      const finish = (): void => {
        done = true;
        this.unfinished--;
        this.heldBytes -= bytes;
        this.inFlight.bodyArrived(req);
      };
      const refuse = (refusal: Refusal): void => {
        if (done) return;
        finish();
        held = undefined;
        reject(refusal);
      };
      // A body that came together with its headers is whole by then: such callers do not suffer from slow ones.
      if (this.unfinished > this.limits.unfinishedMax) setImmediate(refuse, tooManyBodies());
      req.on('data', (chunk: Buffer) => {
        // The rest of a refused body flows on and is dropped; boundDiscard() bounds it.
        if (done) return;
        const before = bytes;
        bytes += chunk.length;
        this.heldBytes += chunk.length;
        if (bytes > this.limits.bytesMax) refuse(this.tooLarge());
        else if (this.heldBytes > this.limits.unfinishedBytesMax) refuse(tooManyBodies());
        else held = held === undefined ? chunk : appended(held, before, chunk);
      });
      req.on('end', () => {
        if (done) return;
        finish();
        try {
          const { overload } = this.inFlight;
          if (overload !== undefined) throw overload;
          const whole = held?.subarray(0, bytes);
          if (isUntyped && whole !== undefined) kindOf(req, kinds);
          resolve(convert(whole === undefined ? '' : decodeText(whole), kind));
        } catch (error) {
          reject(error);
        }
      });
      req.on('close', () => {
        if (done) return;
        finish();
        reject(new BodyAborted());
      });
    });
  }

  private tooLarge(): Refusal {
    return new Refusal('body_too_large', `The body is larger than ${this.limits.bytesMax} bytes.`);
  }
}

/**
 * The bytes held and the chunk behind them, in a buffer that has room for as many again. A list of chunks would cost
 * 300 bytes for each: a caller that sends one byte at a time, 300 MB for a megabyte.
 */
function appended(held: Buffer, bytes: number, chunk: Buffer): Buffer {
  const needed = bytes + chunk.length;
  let room = held;
  if (needed > held.length) {
    room = Buffer.allocUnsafe(needed * 2);
    held.copy(room, 0, 0, bytes);
  }
  chunk.copy(room, bytes);
  return room;
}

/**
 * Lets a caller finish sending a body that was refused, up to a bound in bytes and time; then hangs up. Without
 * it the answer would be lost (a closed socket with unread data resets the connection); without the bound the
 * connection could be held for ever.
 */
export function boundDiscard(req: IncomingMessage): void {
  if (req.destroyed) return;
  let bytes = 0;
  const timer = setTimeout(() => req.socket.destroy(), DISCARD_MS_MAX);
  timer.unref();
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DISCARD_BYTES_MAX) req.socket.destroy();
  });
  const done = (): void => clearTimeout(timer);
  req.on('end', done);
  req.on('close', done);
  req.on('error', done);
}

/** @throws Refusal unless the content type is that of one of these kinds, in UTF-8 and not encoded. */
function kindOf(req: IncomingMessage, kinds: readonly BodyKind[]): BodyKind {
  const { headers } = req;
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new Refusal('unsupported_media_type', 'Only bodies without Content-Encoding are accepted.');
  }
  const type = headers['content-type'] ?? '';
  const kind = KINDS.get(type) ?? KINDS.get(mediaType(type));
  if (kind !== undefined && kinds.includes(kind)) return kind;
  const taken = [...KINDS].filter(([, known]) => kinds.includes(known)).map(([media]) => media);
  throw new Refusal('unsupported_media_type', `The Content-Type must be ${taken.join(' or ')}, in UTF-8.`);
}

/** Parameters that say what is so anyway. */
const PARAMETERS: ReadonlySet<string> = new Set([
  '',
  ...['utf-8', '"utf-8"', 'utf8', '"utf8"'].map((name) => `charset=${name}`),
]);

/**
 * The media type without its parameters, of which only a charset of UTF-8 may be there. Split and not matched: a
 * pattern that tries white space in several places takes the square of its length.
 */
function mediaType(type: string): string {
  const [media = '', ...parameters] = type.toLowerCase().split(';');
  const isPlain = parameters.every((parameter) => PARAMETERS.has(parameter.replaceAll(/\s/g, '')));
  return isPlain ? media.trim() : '';
}

function tooManyBodies(): Refusal {
  return new Refusal('overloaded', 'Too many bodies are being received; try again.');
}

const BYTE_ORDER_MARK = '\ufeff';

/** Most bodies are ASCII; those need no check and decode faster. A byte order mark in front is no part of the text. */
function decodeText(bytes: Buffer): string {
  if (isAscii(bytes)) return bytes.toString('latin1');
  if (!isUtf8(bytes)) throw new Refusal('malformed_json', 'The body is not valid UTF-8.');
  const text = bytes.toString('utf8');
  return text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
}

/** Up to here it is found out whether what is nested too deep is JSON at all: a millisecond at most. */
const DEEP_CHARACTERS_MAX = 8192;

/**
 * @param what is parsed: the body, or a line of it
 * @throws Refusal malformed_json; invalid_request where it is nested too deep. The parser's own words are not passed on:
 * they quote the body.
 */
export function parseJson(text: string, what = 'body'): unknown {
  const isDeep = isTooDeep(text);
  if (isDeep && text.length > DEEP_CHARACTERS_MAX) throw tooDeep(what);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refusal('malformed_json', `The ${what} is ${text.trim() === '' ? 'empty' : 'not valid JSON'}.`);
  }
  if (isDeep) throw tooDeep(what);
  return value;
}

function tooDeep(what: string): Refusal {
  const message = `must not be nested deeper than ${LEVELS_MAX} levels`;
  return new Refusal('invalid_request', `The ${what} ${message}.`, { errors: [{ path: '', message }] });
}
