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
/** Folded in one turn of the event loop: some 10 ms in which nobody else is served. */
const WINDOWS_PER_READ = 500;
/** Summaries of more than one piece made at a time: the largest take seconds of this process' core, and 40 MB. */
const LARGE_MAX = 16;

/** `GET /usage/summary`: windows of any range, read and folded piece by piece. */
export class Summaries {
  private large = 0;

  constructor(
    private readonly dependencies: UsageQueryDependencies,
    private readonly windowsMax = SUMMARY_WINDOWS_MAX,
  ) {}

  async get(req: Request, res: Response): Promise<void> {
    const { gate, hot, windows, windowMs, latenessMs } = this.dependencies;
    const request = readSummaryRequest(req, windowMs);
    const { customer, range, bucketMs, groupBy } = request;
    gate.pass();
    await this.refuseTooLarge(request);
    // Before the windows: they hold at least what it says.
    const watermark = await hot.watermark(customer);
    const { watermarkMs } = watermark;
    const fold = new SummaryFold({ range, bucketMs, windowMs, groupBy, watermarkMs, latenessMs });
    const format = summaryFormat(request);
    const rows: string[] = [];
    const take = (page: WindowPage): void => {
      for (const row of fold.take(page.windows)) rows.push(format.row(row));
    };
    const first = await windows.page(customer, range, WINDOWS_PER_READ);
    take(first);
    if (first.after !== undefined) await this.takeRest(request, first, take, res);
    for (const row of fold.end()) rows.push(format.row(row));
    const text = format.whole(rows, fold.total(), watermark);
    sendText(req, res, 200, format.contentType, text, format.headers(watermark));
  }

  private async takeRest(
    { customer, range }: SummaryRequest,
    first: WindowPage,
    take: (page: WindowPage) => void,
    res: Response,
  ): Promise<void> {
    if (this.large >= LARGE_MAX) {
      throw new Refusal('overloaded', `${LARGE_MAX} large summaries are being made already.`);
    }
    this.large++;
    try {
      let page = first;
      let read = first.windows.length;
      // Until the end, or until the caller has hung up.
      while (page.after !== undefined && !res.destroyed) {
        const rest = { from: page.after + 1, to: range.to };
        page = await this.dependencies.windows.page(customer, rest, WINDOWS_PER_READ);
        read += page.windows.length;
        if (read > this.windowsMax) throw this.tooLarge();
        take(page);
      }
    } finally {
      this.large--;
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
