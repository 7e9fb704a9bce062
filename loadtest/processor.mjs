import { randomUUID } from 'node:crypto';

/**
 * What the scenarios send and what they expect. A check that throws fails its virtual user, and with that the
 * threshold on `vusers.failed`.
 */

const USERS = 5000;
const BATCH_EVENTS = 50;
/** Producers deliver at least once: so often the last event is sent again. */
const REPEATED_SHARE = 0.05;

/** Shares of the four events; what is left are purchases. */
const MIX = [
  ['scam_message_flagged', 0.05, () => ({})],
  ['chargeback_occurred', 0.05, () => ({ amount: amount(20) })],
  ['credit_card_added', 0.1, () => ({ card_id: `card-${below(1000)}`, zip_code: `${10_000 + below(200)}` })],
  ['purchase_made', 1, () => ({ amount: amount(200) })],
];

const TENANTS = 5;
const CUSTOMERS_PER_TENANT = 10;
const ENDPOINTS = ['/v1/chat/completions', '/v1/embeddings', '/v1/images'];
const MODELS = ['gpt-4o', 'gpt-4o-mini'];
/** Dashboards look back this far. */
const RANGE_MS = 600_000;
/** By then an event is in Postgres, and has a receipt. */
const ARCHIVED_MS = 10_000;
/** Single usage events that were accepted, the oldest first. */
const SENT_MAX = 10_000;
const sent = [];

let last = newEvent();
let lastUsage = newUsage();

function below(bound) {
  return Math.floor(Math.random() * bound);
}

/** More than nothing, with two decimals. */
function amount(most) {
  return (1 + below(most * 100)) / 100;
}

function newEvent() {
  let left = Math.random();
  const [name, , properties] = MIX.find(([, share]) => {
    left -= share;
    return left < 0;
  });
  return {
    name,
    event_properties: { user_id: `user-${below(USERS)}`, ...properties() },
    event_id: randomUUID(),
    timestamp: new Date().toISOString(),
  };
}

function newUsage() {
  const tenant = below(TENANTS);
  const inputTokens = below(2000);
  const outputTokens = below(1000);
  return {
    eventId: randomUUID(),
    timestamp: new Date().toISOString(),
    tenantId: `tenant-${tenant}`,
    customerId: customerOf(tenant),
    apiEndpoint: ENDPOINTS[below(ENDPOINTS.length)],
    metadata: {
      tokens: inputTokens + outputTokens,
      model: MODELS[below(MODELS.length)],
      latencyMs: 50 + below(2000),
      inputTokens,
      outputTokens,
      region: 'eu-central-1',
    },
  };
}

function customerOf(tenant) {
  return `customer-${tenant}-${below(CUSTOMERS_PER_TENANT)}`;
}

export async function setUsage(request) {
  if (Math.random() >= REPEATED_SHARE) lastUsage = newUsage();
  request.json = lastUsage;
}

export async function setUsageBatch(request) {
  request.json = Array.from({ length: BATCH_EVENTS }, newUsage);
}

/** Whose usage a dashboard shows, and when. */
export async function setCustomer(context) {
  const tenant = below(TENANTS);
  const now = Date.now();
  Object.assign(context.vars, {
    tenant: `tenant-${tenant}`,
    customer: customerOf(tenant),
    from: new Date(now - RANGE_MS).toISOString(),
    to: new Date(now).toISOString(),
  });
}

/** An event that is old enough, if there is one; else one that nobody sent. */
export async function setReceipt(request, context) {
  const [oldest] = sent;
  const isOld = oldest !== undefined && oldest.at < Date.now() - ARCHIVED_MS;
  context.vars.isArchived = isOld;
  if (isOld) sent.shift();
  request.url = request.url.replace(/[^/]*$/, isOld ? oldest.event.eventId : randomUUID());
  request.headers = { ...request.headers, 'X-Tenant-Id': isOld ? oldest.event.tenantId : 'tenant-0' };
}

export async function setEvent(request) {
  if (Math.random() >= REPEATED_SHARE) last = newEvent();
  request.json = last;
}

export async function setBatch(request) {
  request.json = Array.from({ length: BATCH_EVENTS }, newEvent);
}

/** Users are asked for whether or not anything is known of them. */
export async function setUser(request, context) {
  const user = `user-${below(USERS * 2)}`;
  context.vars.user = user;
  // The template was filled in with what was there before.
  request.url = request.url.replace(/(user_id=|\/users\/)[^/]*/, `$1${user}`);
}

export async function checkAccepted(_request, response) {
  expect(response, ({ status, event_id }) => status === 'accepted' && typeof event_id === 'string');
}

export async function checkBatch(_request, response) {
  expect(response, ({ accepted, rejected }) => accepted === BATCH_EVENTS && rejected.length === 0);
}

export async function checkUsage(request, response) {
  expect(response, ({ status, eventId }) => status === 'accepted' && typeof eventId === 'string');
  if (sent.length < SENT_MAX) sent.push({ event: request.json, at: Date.now() });
}

export async function checkCurrent(_request, response) {
  expect(response, ({ minute, hour, day }) => minute.calls <= hour.calls && hour.calls <= day.calls);
}

export async function checkWindows(_request, response) {
  expect(response, ({ windows, watermark }) => Array.isArray(windows) && typeof watermark === 'string');
}

export async function checkSummary(_request, response) {
  expect(response, ({ rows, total }) => Array.isArray(rows) && typeof total === 'object');
}

export async function checkReceipt(_request, response, context) {
  if (!context.vars.isArchived) return;
  expect(response, ({ status, archived }) => archived === true && ['accepted', 'late'].includes(status));
}

export async function checkDecision(_request, response) {
  expect(response, (answer) => typeof (answer.can_message ?? answer.can_purchase) === 'boolean');
}

export async function checkRestrictions(_request, response) {
  expect(response, ({ restrictions, profile }) => Array.isArray(restrictions) && profile.total_spend >= 0);
}

/** @param holds whether the answer is what the contract says */
export function expect(response, holds) {
  const text = String(response.body);
  if (!holds(JSON.parse(text))) throw new Error('unexpected answer');
}
