import { type BudgetConfig, type LevelConfig, PRIORITIES } from './budget-config.js';
import type {
  Admission,
  AdmissionDocument,
  AdmissionStatus,
  BudgetState,
  BudgetWindow,
  Decision,
  KeptEnd,
  LevelUse,
  PastWindow,
  RefusedBy,
} from './budget-state.js';
import { DOCUMENT_VERSION, parseDocument } from './state-codec.js';

/*
 * Compact JSON. Names are values in arrays, never keys: `__proto__` is one like any other. Admissions are written by the
 * thousand a second: they are arrays whose places are said below, once.
 */

type StoredUse = readonly [
  name: string,
  settled: number,
  held: number,
  admitted: number,
  degraded: number,
  refused: number,
  limit?: number,
];

type StoredWindow = readonly [
  start: number,
  end: number,
  holds: number,
  refundable: number,
  entries: number,
  levels: readonly StoredUse[],
];

type StoredLevel = readonly [
  name: string,
  parent: string | null,
  limit: number,
  soft: number,
  hard: number,
  p2Soft: number | null,
  p2Hard: number | null,
  p0: number,
];

type StoredConfig = readonly [
  version: number,
  appliedAt: number,
  windowMs: number | null,
  maxRequestShare: number,
  degradedDebit: number,
  levels: readonly StoredLevel[],
  unsound?: 1,
];

type StoredBudget = {
  v: number;
  epoch: number;
  entries: number;
  lastEnd: number;
  past: readonly [holds: number, keepUntil: number];
  window?: StoredWindow;
  config?: StoredConfig;
};

type StoredPastWindow = {
  v: number;
  window: StoredWindow;
  version: number;
  revision: number;
  keepUntil: number | null;
};

/** What most admissions do not have comes last and is left out. Status, decision and priority are places in a list. */
type StoredAdmission = readonly [
  id: string,
  status: number,
  decision: number,
  pipeline: string,
  priority: number,
  path: readonly string[],
  estimated: number,
  granted: number,
  window: number,
  at: number,
  expiresAt: number | null,
  body: string,
  attempts: number,
  dedupeUntil: number,
  ended?: readonly [endedAt: number, charged: number, overrun: number, keepUntil: number] | 0,
  rest?: {
    aliases?: readonly string[];
    expiry?: 'release' | 'charge';
    failedOpen?: number;
    refusedBy?: StoredRefusal;
  },
];

type StoredRefusal = readonly [level: string, available: number, resetsAt: number, version: number];

type StoredEnd = readonly [id: string, actual: number | null, until: number];

type StoredAdmissions = { v: number; a: readonly StoredAdmission[]; e?: readonly StoredEnd[] };

/** Only of documents that keep ends: a worker that does not know these would drop them. */
const WITH_ENDS_VERSION = 2;

/** Places in here are stored: append only. */
const STATUSES: readonly AdmissionStatus[] = ['held', 'settled', 'cancelled', 'expired', 'refused'];
const DECISIONS: readonly Decision[] = ['ALLOW', 'ALLOW_DEGRADED', 'REJECT'];

/** A configuration is written with every step and hardly ever changes. */
const configTexts = new WeakMap<BudgetConfig, string>();

export function encodeBudget(state: BudgetState): string {
  const { config, epoch, entries, lastEnd, pastHolds, keepUntil, window } = state;
  const past = [pastHolds, keepUntil] as const;
  const stored: StoredBudget = { v: DOCUMENT_VERSION, epoch, entries, lastEnd, past };
  if (window !== null) stored.window = storedWindow(window);
  const text = JSON.stringify(stored);
  return config === null ? text : `${text.slice(0, -1)},"config":${configText(config)}}`;
}

/** @throws NewerDocumentError for a version above ours. */
export function decodeBudget(text: string): BudgetState {
  const stored = parseDocument(text) as StoredBudget;
  const { epoch, entries, lastEnd, past, window, config } = stored;
  return {
    owner: undefined,
    config: config === undefined ? null : configOf(config),
    epoch,
    entries,
    lastEnd,
    pastHolds: past[0],
    keepUntil: past[1],
    window: window === undefined ? null : windowOf(window),
  };
}

export function encodePastWindow(past: PastWindow): string {
  const { version, revision, keepUntil } = past;
  const stored: StoredPastWindow = {
    v: DOCUMENT_VERSION,
    window: storedWindow(past),
    version,
    revision,
    keepUntil,
  };
  return JSON.stringify(stored);
}

/** @throws NewerDocumentError for a version above ours. */
export function decodePastWindow(text: string): PastWindow {
  const { window, version, revision, keepUntil } = parseDocument(text) as StoredPastWindow;
  return { owner: undefined, ...windowOf(window), version, revision, keepUntil };
}

export function encodeAdmissions({ admissions, ends }: AdmissionDocument): string {
  const stored: StoredAdmissions = { v: DOCUMENT_VERSION, a: admissions.map(storedAdmission) };
  if (ends === undefined) return JSON.stringify(stored);
  return JSON.stringify({
    ...stored,
    v: WITH_ENDS_VERSION,
    e: ends.map(({ id, actual, until }) => [id, actual, until]),
  });
}

/** @throws NewerDocumentError for a version above ours. */
export function decodeAdmissions(text: string): AdmissionDocument {
  const { a, e } = parseDocument(text, WITH_ENDS_VERSION) as StoredAdmissions;
  const admissions = a.map(admissionOf);
  return e === undefined ? { admissions } : { admissions, ends: e.map(endOf) };
}

function endOf([id, actual, until]: StoredEnd): KeptEnd {
  return { id, actual, until };
}

function storedWindow({ start, end, holds, refundable, entries, levels }: BudgetWindow): StoredWindow {
  const uses: StoredUse[] = [];
  for (const [name, { settled, held, admitted, degraded, refused, limit }] of levels) {
    if (limit === null) uses.push([name, settled, held, admitted, degraded, refused]);
    else uses.push([name, settled, held, admitted, degraded, refused, limit]);
  }
  return [start, end, holds, refundable, entries, uses];
}

function windowOf([start, end, holds, refundable, entries, uses]: StoredWindow): BudgetWindow {
  const levels = new Map<string, LevelUse>();
  for (const [name, settled, held, admitted, degraded, refused, limit = null] of uses) {
    levels.set(name, { settled, held, admitted, degraded, refused, limit });
  }
  return { start, end, levels, holds, refundable, entries };
}

function configText(config: BudgetConfig): string {
  let text = configTexts.get(config);
  if (text === undefined) {
    const { version, appliedAt, windowMs, maxRequestShare, degradedDebit } = config;
    const levels = config.levels.map(storedLevel);
    const sound = [version, appliedAt, windowMs, maxRequestShare, degradedDebit, levels] as const;
    const stored: StoredConfig = config.unsound === true ? [...sound, 1] : sound;
    text = JSON.stringify(stored);
    configTexts.set(config, text);
  }
  return text;
}

function configOf([
  version,
  appliedAt,
  windowMs,
  maxRequestShare,
  degradedDebit,
  levels,
  unsound,
]: StoredConfig): BudgetConfig {
  const config = {
    version,
    appliedAt,
    windowMs,
    maxRequestShare,
    degradedDebit,
    levels: levels.map(levelOf),
  };
  return unsound === undefined ? config : { ...config, unsound: true };
}

function storedLevel({ name, parent, limit, soft, hard, p2Soft, p2Hard, p0 }: LevelConfig): StoredLevel {
  return [name, parent, limit, soft, hard, p2Soft, p2Hard, p0];
}

function levelOf([name, parent, limit, soft, hard, p2Soft, p2Hard, p0]: StoredLevel): LevelConfig {
  return { name, parent, limit, soft, hard, p2Soft, p2Hard, p0 };
}

function storedAdmission(admission: Admission): StoredAdmission {
  const { ids, status, decision, pipeline, priority, path, estimated, granted, window, at } = admission;
  const { expiresAt, endedAt, charged, overrun, expiry, failedOpen, refusedBy } = admission;
  const { body, attempts, dedupeUntil, keepUntil } = admission;
  const [id, ...aliases] = ids;
  const always = [
    id!,
    STATUSES.indexOf(status),
    DECISIONS.indexOf(decision),
    pipeline,
    PRIORITIES.indexOf(priority),
    path,
    estimated,
    granted,
    window,
    at,
    expiresAt,
    body,
    attempts,
    dedupeUntil,
  ] as const;
  const ended = status === 'held' ? 0 : ([endedAt!, charged!, overrun, keepUntil!] as const);
  const usual = ids.length === 1 && expiry === null && failedOpen === null && refusedBy === null;
  if (usual) return ended === 0 ? always : [...always, ended];
  const rest: StoredAdmission[15] = {
    ...(aliases.length > 0 ? { aliases } : undefined),
    ...(expiry === null ? undefined : { expiry }),
    ...(failedOpen === null ? undefined : { failedOpen }),
    ...(refusedBy === null ? undefined : { refusedBy: storedRefusal(refusedBy) }),
  };
  return [...always, ended, rest];
}

function storedRefusal({ level, available, resetsAt, version }: RefusedBy): StoredRefusal {
  return [level, available, resetsAt, version];
}

function refusalOf([level, available, resetsAt, version]: StoredRefusal): RefusedBy {
  return { level, available, resetsAt, version };
}

function admissionOf(stored: StoredAdmission): Admission {
  const [id, status, decision, pipeline, priority, path, estimated, granted, window, at] = stored;
  const [, , , , , , , , , , expiresAt, body, attempts, dedupeUntil, ended = 0, rest = {}] = stored;
  const [endedAt, charged, overrun, keepUntil] = ended === 0 ? [null, null, 0, null] : ended;
  const { aliases = [], expiry = null, failedOpen = null, refusedBy } = rest;
  return {
    ids: [id, ...aliases],
    status: STATUSES[status]!,
    decision: DECISIONS[decision]!,
    pipeline,
    priority: PRIORITIES[priority]!,
    path,
    estimated,
    granted,
    window,
    at,
    expiresAt,
    endedAt,
    charged,
    overrun,
    expiry,
    failedOpen,
    refusedBy: refusedBy === undefined ? null : refusalOf(refusedBy),
    body,
    attempts,
    dedupeUntil,
    keepUntil,
  };
}
