import { randomUUID } from 'node:crypto';
import { expect } from './processor.mjs';

/**
 * What the scenario `budgets` sends and what it expects. In a window of 5 s about 1,900 requests ask for 190,000 tokens.
 * P0 asks for a tenth of them, which fits even where the others have used up all they may: it is never refused.
 */

const PIPELINE = 'serving';
const LIMIT = 100_000;
const TOKENS = 100;
const SHARES = [
  ['P0', 0.1],
  ['P1', 0.6],
  ['P2', 0.3],
];
const OUTCOMES = ['admitted', 'degraded', 'refused'];
/** Who does not settle leaves it to the hold's expiry. */
const SETTLED_SHARE = 0.8;

export async function setBudgets(request) {
  const level = { limit: LIMIT, p2_soft_threshold: 0.4, p2_hard_threshold: 0.5 };
  request.json = {
    levels: [
      { name: 'global', parent: null, ...level },
      { name: PIPELINE, parent: 'global', ...level },
    ],
    ...{ actor: 'load test', reason: 'less than is asked for' },
  };
}

export async function checkBudgets(_request, response) {
  expect(response, ({ status }) => status === 'applied');
}

export async function setAdmission(request, context) {
  let left = Math.random();
  const [priority] = SHARES.find(([, share]) => {
    left -= share;
    return left < 0;
  });
  context.vars.priority = priority;
  request.json = {
    ...{ pipeline: PIPELINE, priority, estimated_tokens: TOKENS, request_id: randomUUID() },
  };
}

/** Counts what became of it. P0 is admitted, always; whoever is refused hears when to come again. */
export async function checkAdmission(_request, response, context, events) {
  const { priority } = context.vars;
  const refused = response.statusCode === 429;
  let outcome = 'refused';
  if (refused) {
    expect(response, ({ code, retryable, level }) => code === 'budget_exhausted' && retryable && level);
    if (!(Number(response.headers['retry-after']) >= 1)) throw new Error('no Retry-After');
  } else {
    expect(response, ({ admission_id, decision, granted_tokens }) => {
      outcome = decision === 'ALLOW' ? 'admitted' : 'degraded';
      context.vars.admission = admission_id;
      context.vars.granted = granted_tokens;
      return granted_tokens === (decision === 'ALLOW' ? TOKENS : TOKENS / 2);
    });
  }
  context.vars.settles = !refused && Math.random() < SETTLED_SHARE;
  events.emit('counter', `admissions.${priority}.asked`, 1);
  // Zeros, too: a counter that nobody has counted is unknown to the conditions.
  for (const each of OUTCOMES) {
    events.emit('counter', `admissions.${priority}.${each}`, each === outcome ? 1 : 0);
  }
  if (priority === 'P0' && outcome !== 'admitted') throw new Error(`P0 is ${outcome}`);
}

/** All that was granted: what is given back would only be asked for by others. */
export async function setSettlement(request, context) {
  request.json = { actual_tokens: context.vars.granted };
}

export async function checkSettlement(_request, response, context) {
  expect(
    response,
    ({ status, charged_tokens }) => status === 'settled' && charged_tokens === context.vars.granted,
  );
}
