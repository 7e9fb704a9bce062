import type { Request, Response } from 'express';
import { sendText } from '../../http/respond.js';
import { Refusal } from '../../refusal.js';
import type { UsageQueryDependencies } from './query-dependencies.js';
import { summaryFormat } from './summary-answer.js';
import { SummaryFold } from './summary-fold.js';
import { readSummaryRequest, type SummaryRequest } from './summary-request.js';
import type { WindowPage } from './windows-reader.js';

/** 34 days of windows of 30 s. */
export const SUMMARY_WINDOWS_MAX = 100_000;
/** A summary of about this many windows and more, or of more than 1 MiB of them, is large. */
const SMALL_MAX = 500;

/** `GET /usage/summary`: windows of any range, read and folded piece by piece. */
export class Summaries {
  constructor(
    private readonly dependencies: UsageQueryDependencies,
    private readonly windowsMax = SUMMARY_WINDOWS_MAX,
  ) {}

  async get(tenant: string, req: Request, res: Response): Promise<void> {
    const { gate, hot, windowMs, latenessMs } = this.dependencies;
    const request = readSummaryRequest(req, windowMs);
    const { customer, range, bucketMs, groupBy } = request;
    gate.pass();
    await this.refuseTooLarge(request);
    // Before the windows: they hold at least what it says.
    const watermark = await hot.watermark(customer);
    const { watermarkMs } = watermark;
    const fold = new SummaryFold({ range, bucketMs, groupBy, watermarkMs, latenessMs });
    const format = summaryFormat(request);
    const rows: string[] = [];
    const take = (page: WindowPage): void => {
      for (const row of fold.take(page.windows)) rows.push(format.row(row));
    };
    await this.readAll(tenant, request, take, res);
    if (res.destroyed) return;
    for (const row of fold.end()) rows.push(format.row(row));
    const text = format.whole(rows, fold.total(), watermark);
    sendText(req, res, 200, format.contentType, text, format.headers(watermark));
  }

  /** Until the end, or until the caller has hung up. */
  private async readAll(
    tenant: string,
    { customer, range }: SummaryRequest,
    take: (page: WindowPage) => void,
    res: Response,
  ): Promise<void> {
    const { pieces, large } = this.dependencies;
    let read = 0;
    let isLarge = false;
    try {
      for await (const page of pieces.of(customer, range, Number.POSITIVE_INFINITY)) {
        read += page.windows.length;
        if (read > this.windowsMax) throw this.tooLarge();
        take(page);
        if (page.after === undefined || res.destroyed) return;
        if (isLarge || (read < SMALL_MAX && !page.cut)) continue;
        isLarge = large.begin(tenant);
        if (!isLarge) throw new Refusal('overloaded', 'Enough large answers are being made already.');
      }
    } finally {
      if (isLarge) large.end(tenant);
    }
  }

  /** Counts before it reads, where there can be too many at all. */
  private async refuseTooLarge({ customer, range }: SummaryRequest): Promise<void> {
    const most = Math.ceil((range.to - range.from) / this.dependencies.windowMs);
    if (most <= this.windowsMax) return;
    const count = await this.dependencies.windows.countAtLeast(customer, range, this.windowsMax + 1);
    if (count > this.windowsMax) throw this.tooLarge();
  }

  private tooLarge(): Refusal {
    const message = `holds more than ${this.windowsMax} windows: ask for a shorter one`;
    return new Refusal('range_too_large', `The range ${message}.`, { errors: [{ path: 'to', message }] });
  }
}
