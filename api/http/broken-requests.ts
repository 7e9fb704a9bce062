import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Request, Response } from 'express';
import { Refusal } from '../refusal.js';
import { boundDiscard } from './body.js';
import { problemDocument } from './problem.js';
import { sendText } from './respond.js';

/** Statuses that HTTP has for what is no proper request; all have the code `invalid_request`. */
export type BrokenStatus = 400 | 408 | 417 | 431;

const STATUS_OF_ERROR: Readonly<Record<string, BrokenStatus>> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** @param code of an error of Node's parser */
export function brokenStatusOf(code: string | undefined): BrokenStatus {
  return STATUS_OF_ERROR[code ?? ''] ?? 400;
}

/** Answers a request that Node could read and HTTP does not allow, and closes the connection. */
export function sendBroken(req: Request, res: Response, status: BrokenStatus): void {
  res.shouldKeepAlive = false;
  if (!req.complete) boundDiscard(req);
  sendText(req, res, status, 'application/problem+json', documentOf(status, req.requestId));
}

/** Answers by hand what never became a request, and hangs up. */
export function answerBroken(socket: Socket, status: BrokenStatus, requestId: string): void {
  // It is closing already.
  if (!socket.writable) return;
  const body = documentOf(status, requestId);
  socket.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nX-Request-Id: ${requestId}\r\n` +
      `X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
  );
  socket.destroySoon();
}

function documentOf(status: BrokenStatus, requestId: string): string {
  const title = STATUS_CODES[status]!;
  const refusal = new Refusal('invalid_request', `The request is not valid HTTP: ${title}.`);
  return JSON.stringify({ ...problemDocument(refusal, requestId), title, status });
}
