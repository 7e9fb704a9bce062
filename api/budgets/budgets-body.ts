import { z } from 'zod';
import { budgetDefects } from '../../shared/budgets/budget-defects.js';
import { type BudgetsDocument, budgetsDocument } from '../../shared/budgets/budgets-document.js';
import { DEFAULT_BUDGETS } from '../../shared/state/budget-config.js';
import { actorSchema, reasonSchema } from '../person-schemas.js';
import { type Defect, Refusal } from '../refusal.js';
import { DEFECTS_MAX, invalidBody, schemaDefects } from '../schema-defects.js';

/** What a PUT leaves out is as in the defaults, not as it was before: a body says all that holds after it. */
const DEFAULTS = budgetsDocument(DEFAULT_BUDGETS);
const ROOT = DEFAULTS.levels[0]!;

const orAbsent = z
  .number()
  .nullish()
  .transform((value) => value ?? undefined);

/** Types alone: what numbers and names must be is said by `budgetDefects`. */
const levelSchema = z.strictObject({
  name: z.string(),
  parent: z
    .string()
    .nullish()
    .transform((value) => value ?? null),
  limit: z.number(),
  soft_threshold: z.number().default(ROOT.soft_threshold),
  hard_threshold: z.number().default(ROOT.hard_threshold),
  p2_soft_threshold: orAbsent,
  p2_hard_threshold: orAbsent,
  p0_threshold: z.number().default(ROOT.p0_threshold),
});

const documentShape = {
  window_seconds: z.number().nullable().default(DEFAULTS.window_seconds),
  max_request_share: z.number().default(DEFAULTS.max_request_share),
  degraded_debit: z.number().default(DEFAULTS.degraded_debit),
  levels: z.array(levelSchema),
};
const documentSchema = z.object(documentShape);

/** With all members of an answer of `GET /budgets`: who changes budgets reads them, edits, and sends them back. */
const bodySchema = z.strictObject({
  ...documentShape,
  actor: actorSchema,
  reason: reasonSchema,
  version: z
    .number()
    .refine((value) => Number.isSafeInteger(value) && value >= 0, 'must be a whole number, at least 0')
    .optional(),
  tenant: z.string().optional(),
  applied_at: z.string().nullish(),
});

/** A body of `PUT /budgets`. */
export interface BudgetsBody {
  readonly document: BudgetsDocument;
  readonly actor: string;
  readonly reason: string;
  /** The version it replaces; undefined: any. */
  readonly version: number | undefined;
}

/** @throws Refusal invalid_request with every defect; tenant_mismatch */
export function readBudgetsBody(body: unknown, tenant: string): BudgetsBody {
  const parsed = bodySchema.safeParse(body);
  // Read apart, so that a missing actor does not hide what is wrong with the budgets.
  const document = documentSchema.safeParse(body);
  const defects: Defect[] = [
    ...(parsed.success ? [] : schemaDefects(parsed.error)),
    ...(document.success ? budgetDefects(document.data) : []),
  ];
  if (!parsed.success || defects.length > 0) throw invalidBody(defects.slice(0, DEFECTS_MAX));
  const { actor, reason, version, tenant: named } = parsed.data;
  if (named !== undefined && named !== tenant) {
    throw new Refusal('tenant_mismatch', 'The tenant must be that of X-Tenant-Id.', {
      errors: [{ path: 'tenant', message: 'must be the tenant of X-Tenant-Id' }],
    });
  }
  return { document: parsed.data, actor, reason, version };
}
