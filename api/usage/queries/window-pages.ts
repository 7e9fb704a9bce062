import type { Request, Response } from 'express';
import type { StartRange } from '../../../shared/usage/hot-usage.js';
import { optionalInteger, requiredId } from '../../http/query.js';
import { sendText } from '../../http/respond.js';
import { isoTime } from '../../restrictions/user-view.js';
import { decodeCursor, encodeCursor } from './cursor.js';
import type { UsageQueryDependencies } from './query-dependencies.js';
import { requiredRange, strictQuery } from './query-parameters.js';
import { windowView } from './window-view.js';

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;
/** Characters of windows after which a page ends; the piece that reaches them (see window-pieces.ts) is shown whole. */
const PAGE_CHARS_MAX = 8 * 1_048_576;

/** The windows of a page, as text. */
interface PageText {
  /** Pieces of the list, without brackets. */
  readonly shown: readonly string[];
  /** The start after which the next page goes on; undefined at the end of the range. */
  readonly after: number | undefined;
}

/** `GET /usage/windows`: a page of at most `limit` windows, of fewer where they are long. */
export class WindowPages {
  constructor(private readonly dependencies: UsageQueryDependencies) {}

  async get(tenant: string, req: Request, res: Response): Promise<void> {
    const { gate, hot } = this.dependencies;
    const parameters = strictQuery(req.url, ['customerId', 'from', 'to', 'limit', 'cursor']);
    const customer = requiredId(parameters, 'customerId');
    const range = requiredRange(parameters);
    const limit = optionalInteger(parameters, 'limit', { min: 1, max: LIMIT_MAX, otherwise: LIMIT_DEFAULT });
    const list = { tenant, customer, ...range };
    const cursor = parameters.get('cursor');
    const from = cursor === undefined ? range.from : decodeCursor(list, cursor) + 1;
    gate.pass();
    // Before the windows: they hold at least what it says.
    const { watermarkMs, asOfMs } = await hot.watermark(customer);
    const { shown, after } = await this.read(tenant, customer, { from, to: range.to }, limit, res);
    const rest = JSON.stringify({
      watermark: isoTime(watermarkMs),
      asOf: isoTime(asOfMs),
      nextCursor: after === undefined ? null : encodeCursor(list, after),
    });
    sendText(req, res, 200, 'application/json', `{"windows":[${shown.join(',')}],${rest.slice(1)}`);
  }

  /** Where windows are long, and enough large answers are being made already, the page ends with its first piece. */
  private async read(
    tenant: string,
    customer: string,
    range: StartRange,
    limit: number,
    res: Response,
  ): Promise<PageText> {
    const { pieces, large } = this.dependencies;
    const shown: string[] = [];
    let after: number | undefined;
    let chars = 0;
    let isLarge = false;
    try {
      for await (const piece of pieces.of(customer, range, limit)) {
        const views = piece.windows.map((window) => windowView(tenant, customer, window));
        const text = JSON.stringify(views).slice(1, -1);
        if (text !== '') shown.push(text);
        chars += text.length;
        after = piece.after;
        if (after === undefined || chars >= PAGE_CHARS_MAX || res.destroyed) break;
        if (isLarge || !piece.cut) continue;
        isLarge = large.begin(tenant);
        if (!isLarge) break;
      }
    } finally {
      if (isLarge) large.end(tenant);
    }
    return { shown, after };
  }
}
