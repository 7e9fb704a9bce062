import { expect } from 'chai';
import fc from 'fast-check';
import { Refusal } from '../../../api/refusal.js';
import { readCloudEvent } from '../../../api/usage/cloud-event.js';
import { NO_IDS } from '../../../shared/messages/events.js';
import type { Message } from '../../../shared/messages/message.js';
import { messageDefect } from '../../../shared/messages/record-batch.js';
import { LATENCY_MS_MAX, TOKENS_MAX, type UsageData } from '../../../shared/messages/usage.js';
import { CALL, NOW, newReader, readMessage, slots } from './usage-events.js';

const sound = (text: string): boolean => !text.includes('\0') && text.isWellFormed();
const text = (charactersMax: number): fc.Arbitrary<string> =>
  fc
    .oneof(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
      fc.constantFrom('__proto__', 'constructor', '"', '\\', '\u2028', '😀'),
    )
    .filter((value) => sound(value) && [...value].length <= charactersMax);

const tokens = fc.oneof(fc.nat(TOKENS_MAX / 2), fc.constant(null), fc.constant(undefined));
const known = fc.record({
  tokens: fc.oneof(tokens, fc.constant(TOKENS_MAX)),
  inputTokens: tokens,
  outputTokens: tokens,
  model: fc.option(text(128)),
  latencyMs: fc.option(
    fc.oneof(fc.double({ min: 0, max: LATENCY_MS_MAX, noNaN: true }), fc.nat(LATENCY_MS_MAX)),
  ),
});
const KNOWN = new Set(['tokens', 'inputTokens', 'outputTokens', 'model', 'latencyMs']);

/** JSON of an object of unknown fields, small enough to be taken. */
const extra = fc
  .dictionary(
    fc.oneof(text(20), fc.constantFrom('__proto__', 'toString')),
    fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.string(), fc.double({ noNaN: true, noDefaultInfinity: true })),
    { maxKeys: 6 },
  )
  .map((value) => JSON.stringify(value))
  .filter((json) => {
    const names = Object.keys(JSON.parse(json) as object);
    return json.length < 2000 && !/\\u(0000|d[89a-f])/.test(json) && !names.some((name) => KNOWN.has(name));
  });

const id = text(128).filter((value) => !NO_IDS.has(value));

const usage = fc.record({
  eventId: id,
  timestamp: fc.integer({ min: NOW - 30 * 86_400_000, max: NOW + 3_600_000 }),
  tenantId: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
  customerId: id,
  apiEndpoint: text(512),
  known: fc.option(known),
  extra,
});

describe('UsageReader: properties', () => {
  it('keeps every number and every text of what it accepts', () => {
    const reader = newReader();
    fc.assert(
      fc.property(usage, ({ known: metadata, extra: unknown, timestamp, ...event }) => {
        const members = [
          metadata === null ? '' : JSON.stringify(metadata).slice(1, -1),
          unknown.slice(1, -1),
        ].filter((member) => member !== '');
        const time = JSON.stringify(new Date(timestamp).toISOString());
        const posted = `${JSON.stringify(event).slice(0, -1)},"timestamp":${time},"metadata":{${members}}}`;
        const message = readMessage(posted, CALL, reader);
        const { data, ...rest } = message;
        expect(rest).to.deep.equal({
          ...{ type: 'usage', tenant: event.tenantId, subject: event.customerId },
          ...{ id: event.eventId, timestamp },
        });
        const [endpoint, all, input, output, model, latencyUs, kept] = data;
        const expectedInput = metadata?.inputTokens ?? 0;
        const expectedOutput = metadata?.outputTokens ?? 0;
        expect([endpoint, all, input, output, model]).to.deep.equal([
          event.apiEndpoint,
          metadata?.tokens ?? expectedInput + expectedOutput,
          expectedInput,
          expectedOutput,
          metadata?.model ?? null,
        ]);
        if (typeof metadata?.latencyMs !== 'number') expect(latencyUs).to.equal(null);
        else {
          expect(latencyUs).to.satisfy(Number.isInteger);
          expect(Math.abs(latencyUs! - metadata.latencyMs * 1000)).to.be.at.most(0.5001);
        }
        expect(kept === undefined ? '{}' : JSON.stringify(kept)).to.equal(
          JSON.stringify(JSON.parse(unknown)),
        );
      }),
      { numRuns: 2000 },
    );
  });

  /** What a worker may rely on, whatever was posted. */
  function expectFit(message: Message<UsageData>): void {
    expect(messageDefect(message)).to.equal(undefined);
    expect(message.type).to.equal('usage');
    expect(message.tenant).to.match(/^[A-Za-z0-9_-]{1,64}$/);
    const [endpoint, all, input, output, model, latencyUs, kept] = message.data;
    for (const field of [message.subject, message.id, endpoint, ...(model === null ? [] : [model])]) {
      expect(field).to.satisfy((value: unknown) => typeof value === 'string' && value !== '' && sound(value));
    }
    for (const count of [all, input, output]) {
      expect(count).to.satisfy(Number.isInteger).and.to.be.within(0, TOKENS_MAX);
    }
    expect(latencyUs ?? 0)
      .to.satisfy(Number.isInteger)
      .and.to.be.at.least(0);
    expect(message.timestamp).to.be.within(NOW - 35 * 86_400_000, NOW + 3_600_000);
    expect(kept ?? {}).to.be.an('object');
  }

  const hostile = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom<unknown>('__HUGE__', '__NUL__', '__LONE__', '__proto__', -1, 0.5, 1e21, [], {}, '', null),
  );
  const FIELDS = [
    ...['eventId', 'timestamp', 'tenantId', 'customerId', 'apiEndpoint', 'metadata', '__proto__', 'more'],
    ...['tokens', 'inputTokens', 'outputTokens', 'model', 'latencyMs', 'extra', 'id', 'time', 'subject'],
    ...['specversion', 'type', 'source', 'data'],
  ];
  /** A valid event, bare or as a CloudEvent, with values of any kind in up to four fields at any level. */
  const damaged = fc
    .tuple(fc.boolean(), fc.array(fc.tuple(fc.constantFrom(...FIELDS), fc.nat(2), hostile), { maxLength: 4 }))
    .map(([isCloudEvent, changes]) => {
      const metadata = { tokens: 1, model: 'm', latencyMs: 2 };
      const bare = { eventId: 'e', timestamp: new Date(NOW).toISOString(), tenantId: 't', customerId: 'c' };
      const data = { ...bare, apiEndpoint: '/x', metadata };
      const event = isCloudEvent ? { specversion: '1.0', type: 't', source: 's', id: 'e', data } : data;
      for (const [name, level, value] of changes) {
        const into = [event, data, metadata][level]!;
        Object.defineProperty(into, name, { value, enumerable: true, configurable: true, writable: true });
      }
      const json = JSON.stringify(event)
        .replaceAll('"__HUGE__"', '1e999')
        .replaceAll('__NUL__', 'a\\u0000')
        .replaceAll('__LONE__', 'a\\udfff');
      return { isCloudEvent, json };
    });

  it('accepts or refuses whatever JSON there is, and accepts nothing a worker could not take', () => {
    const reader = newReader();
    let accepted = 0;
    fc.assert(
      fc.property(damaged, ({ isCloudEvent, json }) => {
        const value: unknown = JSON.parse(json);
        try {
          const message = isCloudEvent ? readCloudEvent(reader, value, CALL) : reader.read(value, CALL);
          accepted++;
          const parsed = JSON.parse(message.text) as Message<UsageData>;
          expectFit(parsed);
          expect(message.slot).to.equal(slots.ofCustomer(parsed.tenant!, parsed.subject));
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          for (const { path, message } of error.extras.errors ?? []) {
            expect(path.isWellFormed() && path.length < 100 && message !== '').to.equal(true);
          }
        }
      }),
      { numRuns: 5000 },
    );
    expect(accepted).to.be.above(100);
  });
});
