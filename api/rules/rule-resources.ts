import type { Request, Response } from 'express';
import { z } from 'zod';
import type { Rule } from '../../rules/restrictions/rule.js';
import { isRuleName } from '../../rules/restrictions/rule-defects.js';
import { readAskedSettingsOf } from '../../shared/control/control-log.js';
import { MODES } from '../../shared/messages/events.js';
import { classifyRedisError } from '../../shared/redis/store-unavailable.js';
import { clearTripwireWindow } from '../../shared/tripwire/tripwire-clear-window.js';
import { rearmTripwire } from '../../shared/tripwire/tripwire-rearm.js';
import { tripwireStatus } from '../../shared/tripwire/tripwire-status.js';
import { sendJson } from '../http/respond.js';
import type { Handler, Resource } from '../http/routes.js';
import { actorSchema, reasonSchema } from '../person-schemas.js';
import { invalid, Refusal } from '../refusal.js';
import { parseBody } from '../schema-defects.js';
import { restrictedUsers } from './removed-rules.js';
import type { RuleDependencies } from './rule-dependencies.js';
import { limitsOf, rulesView } from './rule-view.js';
import { type Applied, broadcast, record } from './send-control.js';

const whoAndWhy = { actor: actorSchema.optional(), reason: reasonSchema.optional() };

const modeSchema = z.strictObject({ mode: z.enum(MODES), lift: z.boolean().optional(), ...whoAndWhy });

const limitsSchema = z.strictObject({
  max_share: z.number().gt(0, 'must be greater than 0').max(1, 'must be at most 1').optional(),
  max_users: z.int().min(1, 'must be at least 1, or null for no cap').nullish(),
  min_population: z.int().min(0, 'must be at least 0').optional(),
  window_seconds: z.int().min(1, 'must be at least 1').max(86_400, 'must be at most 86400').optional(),
  ...whoAndWhy,
});

const whySchema = z.strictObject(whoAndWhy).optional();

export function ruleResources(dependencies: RuleDependencies): Resource[] {
  const handle =
    (work: (dependencies: RuleDependencies, req: Request, res: Response) => Promise<void>): Handler =>
    async (req, res) => {
      try {
        await work(dependencies, req, res);
      } catch (error) {
        throw classifyRedisError(error);
      }
    };
  return [
    { path: '/rules', methods: { get: handle(getRules) } },
    { path: '/rules/:name/mode', methods: { put: handle(putMode) } },
    { path: '/rules/:name/tripwire', methods: { put: handle(putTripwire) } },
    { path: '/rules/:name/rearm', methods: { post: handle(postRearm) } },
    { path: '/rules/:name/rollback', methods: { post: handle(postRollback) } },
  ];
}

async function getRules(dependencies: RuleDependencies, req: Request, res: Response): Promise<void> {
  dependencies.gate.pass();
  sendJson(req, res, 200, await rulesView(dependencies));
}

async function putMode(dependencies: RuleDependencies, req: Request, res: Response): Promise<void> {
  const rule = await namedRule(dependencies, req);
  const body = parseBody(modeSchema, await dependencies.bodies.readJson(req));
  const { mode, lift = false } = body;
  if (lift && mode !== 'off') throw invalid('lift', 'goes with mode off only');
  if (!lift) inRegistry(rule);
  dependencies.gate.pass();
  const { control } = await record(dependencies, rule.name, (asked) => ({
    request: { rule: rule.name, action: 'mode', mode, lift },
    settings: { ...asked, mode },
  }));
  note(dependencies, req, { control: control.control, rule: rule.name, action: 'mode', mode, lift }, body);
  const applied = await broadcast(dependencies, control, req.requestId);
  answer(req, res, applied, { name: rule.name, mode, lifted: applied.lifted, ...leftOver(rule) });
}

async function putTripwire(dependencies: RuleDependencies, req: Request, res: Response): Promise<void> {
  const rule = inRegistry(await namedRule(dependencies, req));
  const { actor, reason, ...given } = parseBody(limitsSchema, await dependencies.bodies.readJson(req));
  const changes = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  if (Object.keys(changes).length === 0) throw invalid('', 'must name at least one limit');
  dependencies.gate.pass();
  const { control, settings } = await record(dependencies, rule.name, (asked) => {
    const limits = { ...limitsOf(dependencies.limits, rule, asked), ...changes };
    return { request: { rule: rule.name, action: 'tripwire', limits }, settings: { ...asked, limits } };
  });
  note(
    dependencies,
    req,
    { control: control.control, rule: rule.name, action: 'tripwire', ...changes },
    {
      actor,
      reason,
    },
  );
  const applied = await broadcast(dependencies, control, req.requestId);
  answer(req, res, applied, { name: rule.name, tripwire: settings.limits });
}

/** The wire itself is re-armed at once; each partition decides in the new era from its control message on. */
async function postRearm(dependencies: RuleDependencies, req: Request, res: Response): Promise<void> {
  const { redis, keys } = dependencies;
  const rule = inRegistry(await namedRule(dependencies, req));
  const body = parseBody(whySchema, await dependencies.bodies.readOptionalJson(req));
  dependencies.gate.pass();
  const { control } = await record(dependencies, rule.name, () => ({
    request: { rule: rule.name, action: 'rearm' },
  }));
  note(dependencies, req, { control: control.control, rule: rule.name, action: 'rearm' }, body);
  await rearmTripwire(redis, keys, rule.name, control.control);
  answer(req, res, await broadcast(dependencies, control, req.requestId), { name: rule.name, lifted: 0 });
}

/** Lifts what the rule restricted in the tripwire's window; those users then no longer count in the window. */
async function postRollback(dependencies: RuleDependencies, req: Request, res: Response): Promise<void> {
  const { redis, keys, limits } = dependencies;
  const rule = await namedRule(dependencies, req);
  const body = parseBody(whySchema, await dependencies.bodies.readOptionalJson(req));
  dependencies.gate.pass();
  const { settings } = await readAskedSettingsOf(redis, keys, rule.name);
  const windowSeconds = limitsOf(limits, rule, settings).window_seconds;
  const { rollbackSince } = await tripwireStatus(redis, keys, rule.name, windowSeconds);
  const { control } = await record(dependencies, rule.name, () => ({
    request: { rule: rule.name, action: 'rollback', since: rollbackSince },
  }));
  note(dependencies, req, { control: control.control, rule: rule.name, action: 'rollback' }, body);
  const applied = await broadcast(dependencies, control, req.requestId);
  if (applied.applied === applied.partitions) {
    await clearTripwireWindow(redis, keys, rule.name, Number.parseInt(control.control, 10));
  } else {
    dependencies.lateRollbacks.follow(rule.name, control.control);
  }
  answer(req, res, applied, { name: rule.name, lifted: applied.lifted, ...leftOver(rule) });
}

/** 200 once every partition has applied it; 202 while some have not: they will. */
function answer(req: Request, res: Response, { applied, partitions }: Applied, body: object): void {
  if (applied === partitions) sendJson(req, res, 200, { status: 'applied', ...body });
  else sendJson(req, res, 202, { status: 'accepted', applied, partitions, ...body });
}

/** Who changed which rule, and why, goes to the log. */
function note(
  { log }: RuleDependencies,
  req: Request,
  what: object,
  who: { readonly actor?: string | undefined; readonly reason?: string | undefined } | undefined,
): void {
  log.info({ request: req.requestId, ...what, actor: who?.actor, reason: who?.reason }, 'rule changed');
}

/** A rule of the registry, or the name of one that is gone from it and still restricts users. */
type NamedRule = Rule | Removed;
type Removed = Pick<Rule, 'name' | 'tripwire'> & { readonly isRemoved: true };

/** @throws Refusal for a name that is neither */
async function namedRule(dependencies: RuleDependencies, req: Request): Promise<NamedRule> {
  const { rules, gate } = dependencies;
  const name = req.params['name'] as string;
  const rule = rules.find((candidate) => candidate.name === name);
  if (rule !== undefined) return rule;
  gate.pass();
  if (isRuleName(name) && (await restrictedUsers(dependencies, name)) > 0) return { name, isRemoved: true };
  const known = rules.map((candidate) => candidate.name);
  throw new Refusal('unknown_rule', `There is no rule of this name. Known: ${known.join(', ')}.`, {
    members: { known },
  });
}

/** @throws Refusal for what only a rule that is there can be told */
function inRegistry(rule: NamedRule): Rule {
  if (!isRemoved(rule)) return rule;
  throw new Refusal(
    'rule_removed',
    'The rule is gone from the registry. What it restricts can be lifted: by a rollback, or by mode off with lift.',
  );
}

function isRemoved(rule: NamedRule): rule is Removed {
  return 'isRemoved' in rule;
}

/** Only the rule knew which counters had made it match: they stay. */
function leftOver(rule: NamedRule): object {
  return isRemoved(rule) ? { counters_reset: false } : {};
}
