import {
  admissionsExpireAt,
  type BudgetContext,
  type BudgetFolded,
  type BudgetStates,
  budgetExpiresAt,
  budgetsBornAgain,
  foldBudgetMessage,
  foldBudgetTimer,
  parseBudgetTimer,
  pastWindowsOf,
} from '../../rules/budgets.js';
import type { BudgetSettings } from '../../shared/budget-settings.js';
import {
  admissionDocument,
  budgetDocument,
  budgetResetTimer,
  budgetWindowDocument,
  CONFIGURED_INDEX,
} from '../../shared/keys.js';
import { ADMIT, admissionKey, BUDGETS_PUT, EVALUATE } from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import {
  decodeAdmissions,
  decodeBudget,
  decodePastWindow,
  encodeAdmissions,
  encodeBudget,
  encodePastWindow,
} from '../../shared/state/budget-codec.js';
import type { BudgetConfig } from '../../shared/state/budget-config.js';
import type { AdmissionDocument, BudgetState, PastWindow } from '../../shared/state/budget-state.js';
import { DEFAULT_TENANT } from '../../shared/topics.js';
import type { Document, Facts, FoldResult, Input, Processor, ReadDocument } from '../engine/processor.js';

/** Redis keeps what a fold no longer looks at for this much longer, ms: its clock may be ahead of a partition's. */
const EXPIRY_SLACK_MS = 15_000;

const ADMISSION = admissionDocument('', '').slice(0, -1);
const WINDOW = budgetWindowDocument('', 0).slice(0, -2);

/** What an input is about. */
interface Aim {
  readonly tenant: string;
  /** undefined: no admission. */
  readonly key: string | undefined;
}

/** Plugs budgets (rules/budgets) into the engine: the topic `admissions`. */
export class Admissions implements Processor {
  readonly topic = 'admissions';
  readonly pinned = [];

  constructor(private readonly settings: BudgetSettings) {}

  decode(name: string, text: string): Document {
    if (name.startsWith(ADMISSION)) return decodeAdmissions(text);
    return name.startsWith(WINDOW) ? decodePastWindow(text) : decodeBudget(text);
  }

  encode(name: string, document: Document): string {
    if (name.startsWith(ADMISSION)) return encodeAdmissions(document as AdmissionDocument);
    return name.startsWith(WINDOW)
      ? encodePastWindow(document as PastWindow)
      : encodeBudget(document as BudgetState);
  }

  bornAgain(at: number, recalled: unknown): readonly (readonly [string, Document])[] {
    const configs = recalled as readonly (readonly [tenant: string, config: BudgetConfig])[];
    return budgetsBornAgain(at, configs).map(([tenant, state]) => [budgetDocument(tenant), state]);
  }

  foldsAlone(): boolean {
    return false;
  }

  /** An admission is looked at when it is made and when it ends, seconds later. */
  caches(name: string): boolean {
    return !name.startsWith(ADMISSION);
  }

  documents(input: Input): readonly string[] {
    const { tenant, key } = aimOf(input);
    const budget = budgetDocument(tenant);
    return key === undefined ? [budget] : [budget, admissionDocument(tenant, key)];
  }

  /** A key is usually new. */
  fresh(input: Input): string | undefined {
    if (input.kind !== 'message' || (input.message.type !== ADMIT && input.message.type !== EVALUATE))
      return undefined;
    const { tenant, key } = aimOf(input);
    return key === undefined ? undefined : admissionDocument(tenant, key);
  }

  follow(input: Input, read: ReadDocument): readonly string[] {
    const { tenant, key } = aimOf(input);
    const what = input.kind === 'message' ? { message: input.message } : { timer: input.timer.id };
    const starts = pastWindowsOf(what, statesOf(tenant, key, read));
    return starts.map((start) => budgetWindowDocument(tenant, start));
  }

  expiresAt(name: string, document: Document): number | undefined {
    const until = name.startsWith(ADMISSION)
      ? admissionsExpireAt(document as AdmissionDocument)
      : name.startsWith(WINDOW)
        ? (document as PastWindow).keepUntil
        : budgetExpiresAt(document as BudgetState);
    return until === undefined || until === null ? undefined : until + EXPIRY_SLACK_MS;
  }

  fold(
    input: Input,
    read: ReadDocument,
    _facts: Facts,
    _members: readonly string[],
    step: object,
  ): FoldResult {
    const { tenant, key } = aimOf(input);
    const states = statesOf(tenant, key, read);
    const context: BudgetContext = { tenant, at: input.at, settings: this.settings, names: NAMES, step };
    const folded =
      input.kind === 'message'
        ? foldBudgetMessage(input.message, states, context)
        : foldBudgetTimer(input.timer.id, input.timer.dueAt, states, context);
    return { writes: writesOf(tenant, key, folded), effects: folded.effects };
  }
}

const NAMES = { admissionDocument, budgetResetTimer, configuredIndex: CONFIGURED_INDEX };

function statesOf(tenant: string, key: string | undefined, read: ReadDocument): BudgetStates {
  return {
    state: read(budgetDocument(tenant)) as BudgetState | null,
    admissions: key === undefined ? null : (read(admissionDocument(tenant, key)) as AdmissionDocument | null),
    past: (start) => read(budgetWindowDocument(tenant, start)) as PastWindow | null,
  };
}

function writesOf(tenant: string, key: string | undefined, folded: BudgetFolded): FoldResult['writes'] {
  const writes: FoldResult['writes'][number][] = [];
  if (folded.state !== undefined) writes.push([budgetDocument(tenant), folded.state]);
  if (folded.admissions !== undefined && key !== undefined)
    writes.push([admissionDocument(tenant, key), folded.admissions]);
  for (const [start, window] of folded.past ?? []) writes.push([budgetWindowDocument(tenant, start), window]);
  return writes;
}

/** @throws for a timer or a message that is none of budgets */
function aimOf(input: Input): Aim {
  if (input.kind === 'message') return aimOfMessage(input.message);
  const timer = parseBudgetTimer(input.timer.id);
  return { tenant: timer.tenant, key: timer.kind === 'hold' ? timer.key : undefined };
}

function aimOfMessage({ type, tenant = DEFAULT_TENANT, data }: Message): Aim {
  if (type === BUDGETS_PUT) return { tenant, key: undefined };
  const { admission } = data as { readonly admission?: unknown };
  if (typeof admission !== 'string') throw new Error(`the message ${type.slice(0, 100)} has no admission`);
  return { tenant, key: admissionKey(admission) };
}
