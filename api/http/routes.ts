import type { Express, NextFunction, Request, Response } from 'express';
import type { Logger } from '../../shared/logging.js';
import { type ApiMetrics, UNMATCHED } from '../metrics.js';
import { Refusal } from '../refusal.js';
import { BodyAborted } from './body.js';
import { sendProblem, statusOf, toRefusal } from './problem.js';
import { sendNothing } from './respond.js';

export type Handler = (req: Request, res: Response) => Promise<void> | void;
export type Method = 'get' | 'post' | 'put' | 'delete';

/** The methods of one path. Express tries paths in the order they are added: the busiest come first. */
export interface Resource {
  readonly path: string;
  readonly methods: Readonly<Partial<Record<Method, Handler>>>;
  /** Status of a call that goes well, for the metrics that exist from the start. */
  readonly status?: number;
}

/** What any path may answer, and alerts may look at: of these the first one is to be noticed. */
const ANY_STATUSES = [422, 429, 500, 503];

/** Adds the resources, with 405 and OPTIONS for each, 404 for the rest, and the one place where errors end. */
export function addRoutes(
  app: Express,
  resources: readonly Resource[],
  metrics: ApiMetrics,
  log: Logger,
): void {
  for (const { path, methods, status = 200 } of resources) {
    const route = app.route(path);
    const allowed: string[] = [];
    for (const [method, handler] of Object.entries(methods) as [Method, Handler][]) {
      route[method](handler);
      allowed.push(method.toUpperCase(), ...(method === 'get' ? ['HEAD'] : []));
      for (const expected of [status, ...ANY_STATUSES]) metrics.expect(method.toUpperCase(), path, expected);
    }
    const allow = [...allowed, 'OPTIONS'].join(', ');
    route.all((req: Request, res: Response) => {
      if (req.method === 'OPTIONS') {
        sendNothing(req, res, 204, ['Allow', allow]);
        return;
      }
      sendProblem(req, res, new Refusal('method_not_allowed', `This path takes ${allow}.`, { allow }));
    });
  }
  metrics.expect('GET', UNMATCHED, 404);
  app.use((req: Request, res: Response) => {
    sendProblem(req, res, new Refusal('not_found', 'There is nothing under this path.'));
  });
  app.use((error: unknown, req: Request, res: Response, _next: NextFunction) => {
    // Nobody is left to answer.
    if (error instanceof BodyAborted) return;
    const refusal = toRefusal(error);
    metrics.countDropped(refusal.code);
    if (statusOf(refusal.code) === 500) log.error({ err: error, request: req.requestId }, 'request failed');
    sendProblem(req, res, refusal);
  });
}
