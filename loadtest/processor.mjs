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

let last = newEvent();

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

export async function checkDecision(_request, response) {
  expect(response, (answer) => typeof (answer.can_message ?? answer.can_purchase) === 'boolean');
}

export async function checkRestrictions(_request, response) {
  expect(response, ({ restrictions, profile }) => Array.isArray(restrictions) && profile.total_spend >= 0);
}

function expect(response, holds) {
  const text = String(response.body);
  if (!holds(JSON.parse(text))) throw new Error('unexpected answer');
}
