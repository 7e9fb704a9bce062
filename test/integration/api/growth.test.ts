import { Agent, request } from 'node:http';
import { expect } from 'chai';
import { growsLinearly } from '../../support/growth.js';
import { ApiUnderTest } from './api-under-test.js';

/** A whole request, so that Node, Express and weir are measured together. */
interface Sent {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

type Pattern = (size: number) => string;

const PATTERNS: Readonly<Record<string, Pattern>> = {
  letters: (size) => 'a'.repeat(size),
  digits: (size) => '1'.repeat(size),
  'white space inside': (size) => `a${' '.repeat(size - 2)}b`,
  'white space and semicolons': (size) => ' ;'.repeat(size / 2),
  'an endless charset': (size) => `application/json;charset${' '.repeat(size - 40)}=x`,
  quotes: (size) => '"'.repeat(size),
  commas: (size) => 'a,'.repeat(size / 2),
  'equals signs': (size) => 'a='.repeat(size / 2),
  escapes: (size) => '%41'.repeat(size / 3),
  'dots and colons': (size) => '.:'.repeat(size / 2),
  slashes: (size) => 'a/'.repeat(size / 2),
  brackets: (size) => '[]'.repeat(size / 2),
};

/** Node takes 16 kB of headers. */
const HEADER_SIZE = 7200;
const FIELD_SIZE = 20_000;

const HEADERS = [
  ...['content-type', 'content-encoding', 'x-request-id', 'x-tenant-id', 'host', 'origin', 'sec-fetch-site'],
  ...['expect', 'idempotency-key', 'prefer', 'accept', 'accept-encoding', 'cookie', 'authorization'],
  ...['ce-specversion', 'ce-id', 'ce-source', 'ce-type', 'ce-time', 'ce-subject'],
];

/** So that every `ce-` header is looked at. */
const BINARY = { 'ce-specversion': '1.0', 'ce-id': 'i', 'ce-source': 's', 'ce-type': 't' };

const event = { name: 'purchase_made', event_properties: { user_id: 'u', amount: 1 } };
const usage = { eventId: 'e', timestamp: 'never', customerId: 'c', apiEndpoint: '/x', metadata: {} };
const admission = { pipeline: 'ranking', priority: 'P9', estimated_tokens: 1 };
const override = { allow: 'yes', reason: 'r', actor: 'a' };
const cloudEvent = {
  specversion: '1.0',
  id: 'i',
  source: 's',
  type: 't',
  time: 'never',
  subject: 'c',
  data: {},
};
const budgets = { actor: 'a', reason: 'r', levels: [], tenant: 'x' };

/** Every field that a body may have, in a body that is refused for something else: nothing of it is appended. */
const BODIES: readonly (readonly [method: string, path: string, body: object, fields: readonly string[]])[] =
  [
    ['POST', '/event', { ...event, x: 1 }, ['name', 'event_properties', 'event_id', 'timestamp', 'other']],
    ['POST', '/usage', usage, [...Object.keys(usage), 'tenantId', 'other']],
    ['POST', '/usage', cloudEvent, Object.keys(cloudEvent)],
    ['POST', '/admissions', admission, [...Object.keys(admission), 'request_id', 'payload', 'hold_seconds']],
    ['POST', '/v1/evaluate', admission, [...Object.keys(admission), 'request_id', 'payload', 'other']],
    ['POST', '/admissions/0123456789abcdefa1234567/settle', {}, ['actual_tokens', 'other']],
    ['PUT', '/users/u/overrides/message', override, [...Object.keys(override), 'expires_at', 'other']],
    ['PUT', '/rules/scam_message_rule/mode', { mode: 'x' }, ['mode', 'lift', 'actor', 'reason']],
    ['PUT', '/rules/scam_message_rule/tripwire', { x: 1 }, ['max_share', 'max_users', 'window_seconds']],
    ['PUT', '/budgets', budgets, [...Object.keys(budgets), 'window_seconds', 'version', 'applied_at']],
  ];

/** What a field may hold that is no text. */
const VALUES: Readonly<Record<string, (size: number) => unknown>> = {
  letters: (size) => 'a'.repeat(size),
  digits: (size) => '1'.repeat(size),
  'white space': (size) => `a${' '.repeat(size)}b`,
  'characters of two units': (size) => '😀'.repeat(size / 4),
  'a long array': (size) => Array.from({ length: size / 2 }, () => 0),
  'many names': (size) => Object.fromEntries(Array.from({ length: size / 10 }, (_, n) => [`n${n}`, n])),
  'a long name': (size) => ({ ['a'.repeat(size)]: 1 }),
};

describe('api: what a request costs', () => {
  let api: ApiUnderTest;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });

  before(async () => {
    api = await (await ApiUnderTest.start()).connected();
  });
  after(async () => {
    agent.destroy();
    await api.close();
  });
  afterEach(async () => {
    expect(await api.messages(), 'nothing was appended').to.deep.equal([]);
  });

  function send({ method = 'POST', path, headers = {}, body = '' }: Sent): Promise<void> {
    const url = new URL(api.url);
    const given = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...headers,
    };
    return new Promise((resolve, reject) => {
      const options = { host: url.hostname, port: url.port, agent, method, path, headers: given };
      const req = request(options, (res) => res.resume().on('end', resolve));
      req.on('error', reject);
      req.end(body);
    });
  }

  async function quadratic(
    size: number,
    cases: readonly (readonly [what: string, sent: (size: number) => Sent])[],
  ): Promise<readonly string[]> {
    const found: string[] = [];
    for (const [what, sent] of cases) {
      if (!(await growsLinearly(size, (n) => send(sent(n))))) found.push(what);
    }
    return found;
  }

  const patterns = Object.entries(PATTERNS);
  for (const header of HEADERS) {
    it(`grows with the length of the header ${header} and not with its square`, async () => {
      const cases = patterns.map(
        ([what, pattern]) =>
          [
            what,
            (n: number) => ({ path: '/usage', body: '{}', headers: { ...BINARY, [header]: pattern(n) } }),
          ] as const,
      );
      expect(await quadratic(HEADER_SIZE, cases)).to.deep.equal([]);
    }).timeout(60_000);
  }

  const paths: Readonly<Record<string, (text: string) => string>> = {
    'an unknown path': (text) => `/${text}`,
    'an absolute target': (text) => `http://${text}/event`,
    'a target that is no path': (text) => text,
    'a user': (text) => `/users/${text}/restrictions`,
    'a feature': (text) => `/users/u/overrides/${text}`,
    'a dead letter': (text) => `/dead-letters/${text}`,
    'a receipt': (text) => `/usage/events/${text}`,
    'a query': (text) => `/canmessage?${text}`,
    'a user_id': (text) => `/canmessage?user_id=${text}`,
    'a cursor': (text) => `/dead-letters?cursor=${text}`,
    'a time': (text) => `/usage/windows?customerId=c&from=2026-01-01T00:00:00.${text}Z&to=${text}`,
  };
  for (const [name, path] of Object.entries(paths)) {
    it(`grows with the length of ${name} in the target and not with its square`, async () => {
      const headers = { 'x-tenant-id': 't' };
      const cases = patterns.map(
        ([what, pattern]) =>
          [
            what,
            (n: number) => ({ method: 'GET', path: path(pattern(n).replaceAll(' ', '+')), headers }),
          ] as const,
      );
      expect(await quadratic(HEADER_SIZE, cases)).to.deep.equal([]);
    }).timeout(60_000);
  }

  for (const [method, path, body, fields] of BODIES) {
    const what = body === cloudEvent ? 'a CloudEvent' : `${method} ${path}`;
    it(`grows with the length of each field of ${what} and not with its square`, async () => {
      const headers = body === cloudEvent ? { 'content-type': 'application/cloudevents+json' } : {};
      const cases = fields.flatMap((field) =>
        Object.entries(VALUES).map(
          ([what, value]) =>
            [
              `${field}: ${what}`,
              (n: number) => ({
                method,
                path,
                headers,
                body: JSON.stringify({ ...body, [field]: value(n) }),
              }),
            ] as const,
        ),
      );
      expect(await quadratic(FIELD_SIZE, cases)).to.deep.equal([]);
    }).timeout(120_000);
  }
});
