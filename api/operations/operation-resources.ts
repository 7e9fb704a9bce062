import type { Request, Response } from 'express';
import type { Registry } from 'prom-client';
import { VERSION } from '../../shared/version.js';
import { sendJson, sendText } from '../http/respond.js';
import type { Resource } from '../http/routes.js';
import { type ReadinessDependencies, readiness } from './readiness.js';

const UNREADY = ['Retry-After', '1'];

export interface OperationDependencies extends ReadinessDependencies {
  readonly registry: Registry;
  /** The process has been asked to end. */
  readonly isStopping: () => boolean;
}

/** What a caller that knows no path is told. */
const WELCOME = {
  ...{ name: 'weir', version: VERSION, documentation: 'docs/http-api.md' },
  links: { health: '/health', ready: '/ready', metrics: '/metrics', rules: '/rules' },
};

export function operationResources(dependencies: OperationDependencies): Resource[] {
  return [
    { path: '/', methods: { get: (req, res) => sendJson(req, res, 200, WELCOME) } },
    {
      path: '/health',
      methods: { get: (req, res) => sendJson(req, res, 200, { status: 'ok', version: VERSION }) },
    },
    { path: '/ready', methods: { get: (req, res) => getReady(dependencies, req, res) } },
    { path: '/metrics', methods: { get: (req, res) => getMetrics(dependencies, req, res) } },
  ];
}

async function getReady(dependencies: OperationDependencies, req: Request, res: Response): Promise<void> {
  const found = await readiness(dependencies);
  if (dependencies.isStopping()) sendJson(req, res, 503, { ...found, status: 'stopping' }, UNREADY);
  else if (found.status === 'ready') sendJson(req, res, 200, found);
  else sendJson(req, res, 503, found, UNREADY);
}

async function getMetrics({ registry }: OperationDependencies, req: Request, res: Response): Promise<void> {
  sendText(req, res, 200, registry.contentType, await registry.metrics());
}
