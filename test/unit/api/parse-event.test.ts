import { expect } from 'chai';
import { parseEvent } from '../../../api/events/parse-event.js';
import { Refusal } from '../../../api/refusal.js';

describe('parseEvent', () => {
  const parse = (text: string): object => parseEvent(JSON.parse(text), 'r1');
  const refusal = (text: string): Refusal => {
    try {
      parse(text);
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
    throw new Error('it was accepted');
  };

  it('makes the user the subject and keeps only the known properties', () => {
    const text =
      '{"name":"purchase_made","event_id":"e","event_properties":{"user_id":"u","amount":0.1,"x":"y","n":null}}';
    expect(parse(text)).to.deep.equal({
      ...{ type: 'purchase_made', subject: 'u', id: 'e', data: { amount: 0.1 }, request: 'r1' },
    });
  });

  it('makes an id of its own where there is none', () => {
    const text = '{"name":"scam_message_flagged","event_properties":{"user_id":"u"}}';
    const [a, b] = [parse(text), parse(text)] as [{ id: string }, { id: string }];
    expect(a.id).to.match(/^[\w-]{21}$/);
    expect(a.id).not.to.equal(b.id);
  });

  it('reads a time with offset as ms since the epoch', () => {
    const text =
      '{"name":"scam_message_flagged","event_properties":{"user_id":"u"},"timestamp":"1970-01-01T01:00:01+01:00"}';
    expect(parse(text)).to.deep.include({ timestamp: 1000 });
  });

  it('counts the characters of an id, not their UTF-16 units: 128 fit, 129 do not', () => {
    const event = (id: string): string =>
      JSON.stringify({ name: 'scam_message_flagged', event_properties: { user_id: id } });
    expect(parse(event('😀'.repeat(128)))).to.deep.include({ subject: '😀'.repeat(128) });
    expect(refusal(event(`${'😀'.repeat(128)}a`)).code).to.equal('invalid_request');
  });

  it('names every defect, never quoting a value', () => {
    const found = refusal(
      '{"name":"credit_card_added","event_properties":{"user_id":"","card_id":7},"event_id":""}',
    );
    expect(found.extras.errors).to.deep.equal([
      { path: 'event_properties.user_id', message: 'must not be empty' },
      { path: 'event_properties.card_id', message: 'must be a string' },
      { path: 'event_properties.zip_code', message: 'is required' },
      { path: 'event_id', message: 'must not be empty' },
    ]);
  });

  for (const name of ['constructor', '__proto__', 'toString', '']) {
    it(`does not take ${JSON.stringify(name)} for an event`, () => {
      expect(refusal(`{"name":${JSON.stringify(name)},"event_properties":{"user_id":"u"}}`).code).to.equal(
        'unknown_event',
      );
    });
  }

  it('bounds what it says about a body full of unknown fields', () => {
    const fields = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`${'k'.repeat(500)}${i}`, 1]));
    const found = refusal(
      JSON.stringify({ ...fields, name: 'scam_message_flagged', event_properties: { user_id: 'u' } }),
    );
    expect(found.extras.errors).to.have.length(20);
    expect(JSON.stringify(found.extras).length).to.be.below(4000);
  });

  it('refuses more properties than anybody sends', () => {
    const extra = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, 1]));
    const found = refusal(
      JSON.stringify({ name: 'scam_message_flagged', event_properties: { user_id: 'u', ...extra } }),
    );
    expect(found.extras.errors).to.deep.equal([
      { path: 'event_properties', message: 'must have at most 64 properties' },
    ]);
  });
});
