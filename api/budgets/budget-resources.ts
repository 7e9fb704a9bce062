import type { Request, Response } from 'express';
import { nanoid } from 'nanoid';
import { pathOf, treeOf } from '../../rules/budgets/levels.js';
import { budgetConfigOf } from '../../shared/budgets/budgets-document.js';
import { BUDGETS_PUT, type BudgetsPut, type BudgetsPutReply } from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import { type BudgetConfig, type LevelConfig, WINDOW_LEVELS_MAX } from '../../shared/state/budget-config.js';
import { unknownPipeline } from '../admissions/admission-answers.js';
import { requiredId } from '../http/query.js';
import { sendJson } from '../http/respond.js';
import type { Handler, Resource } from '../http/routes.js';
import { invalid, Refusal } from '../refusal.js';
import { isoTime } from '../restrictions/user-view.js';
import { sendCommand } from '../send-command.js';
import { strictQuery } from '../usage/queries/query-parameters.js';
import { type BudgetDependencies, tenantOf } from './budget-dependencies.js';
import { getBudgetVersions } from './budget-versions.js';
import { budgetsView, budgetView } from './budget-view.js';
import { readBudgetsBody } from './budgets-body.js';
import { readBudget } from './read-budget.js';

/** What a tenant may spend, and what of it is spent. */
export function budgetResources(dependencies: BudgetDependencies): Resource[] {
  const handle =
    (work: (dependencies: BudgetDependencies, req: Request, res: Response) => Promise<void>): Handler =>
    (req, res) =>
      work(dependencies, req, res);
  return [
    { path: '/budget', methods: { get: handle(getBudget) } },
    { path: '/budgets', methods: { get: handle(getBudgets), put: handle(putBudgets) } },
    { path: '/budgets/versions', methods: { get: handle(getBudgetVersions) } },
  ];
}

async function getBudget(dependencies: BudgetDependencies, req: Request, res: Response): Promise<void> {
  const { redis, slots, gate, windowMs } = dependencies;
  const tenant = tenantOf(req);
  const parameters = strictQuery(req.url, ['pipeline']);
  const pipeline = parameters.has('pipeline') ? requiredId(parameters, 'pipeline') : undefined;
  gate.pass();
  const budget = await readBudget(redis, slots, tenant);
  sendJson(req, res, 200, budgetView(tenant, budget, levelsShown(budget.config, pipeline), windowMs));
}

/** All levels, or the root and the one that is asked for. @throws Refusal unknown_pipeline */
function levelsShown(config: BudgetConfig, pipeline: string | undefined): readonly LevelConfig[] {
  if (pipeline === undefined) return config.levels;
  const path = pathOf(config, pipeline);
  if (path !== undefined) return [path[0]!, path.at(-1)!];
  throw unknownPipeline(treeOf(config).pipelines);
}

async function getBudgets(dependencies: BudgetDependencies, req: Request, res: Response): Promise<void> {
  const { redis, slots, gate } = dependencies;
  const tenant = tenantOf(req);
  strictQuery(req.url, []);
  gate.pass();
  const { config } = await readBudget(redis, slots, tenant);
  sendJson(req, res, 200, budgetsView(tenant, config));
}

async function putBudgets(dependencies: BudgetDependencies, req: Request, res: Response): Promise<void> {
  const tenant = tenantOf(req);
  const { document, actor, reason, version } = readBudgetsBody(
    await dependencies.bodies.readJson(req),
    tenant,
  );
  dependencies.gate.pass();
  const data: BudgetsPut = {
    config: budgetConfigOf(document),
    ...(version === undefined ? {} : { replaces: version }),
    ...{ actor, reason },
  };
  const message: Message<BudgetsPut> = {
    ...{ type: BUDGETS_PUT, tenant, subject: tenant, id: nanoid(), data, request: req.requestId },
  };
  const reply = await sendCommand(dependencies, dependencies.slots.ofTenant(tenant), message);
  if (reply === undefined) return sendJson(req, res, 202, { status: 'accepted' });
  const applied = reply as BudgetsPutReply;
  if (applied.kind === 'version_conflict') throw versionConflict(applied.version);
  if (applied.kind === 'too_many_levels') throw tooManyLevels(applied.resetsAt);
  sendJson(req, res, 200, { status: 'applied', ...budgetsView(tenant, applied.config) });
}

function tooManyLevels(resetsAt: number): Refusal {
  const message = `would be more than ${WINDOW_LEVELS_MAX} in one window, with those that were used in it and removed; the window ends at ${isoTime(resetsAt)}`;
  return invalid('levels', message);
}

function versionConflict(version: number): Refusal {
  return new Refusal('version_conflict', `The budgets are at version ${version}: read them again.`, {
    errors: [{ path: 'version', message: 'is not that of the budgets that apply' }],
    members: { version },
  });
}
