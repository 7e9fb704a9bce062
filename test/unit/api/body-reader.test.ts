import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { BodyAborted, type BodyKind, BodyReader } from '../../../api/http/body.js';
import { InFlight } from '../../../api/http/in-flight.js';

describe('BodyReader', () => {
  const json = { 'content-type': 'application/json' };
  const request = (
    chunks: readonly (string | Buffer)[],
    headers: Record<string, string> = json,
  ): IncomingMessage =>
    Object.assign(Readable.from(chunks.map((chunk) => Buffer.from(chunk as string))), {
      headers,
    }) as unknown as IncomingMessage;
  const reader = (bytesMax = 100, unfinishedMax = 100, inFlight = new InFlight(100)): BodyReader =>
    new BodyReader({ bytesMax, unfinishedMax, unfinishedBytesMax: 1000 }, inFlight);

  async function failure(work: Promise<unknown>): Promise<unknown> {
    try {
      await work;
    } catch (error) {
      return (error as { code?: string }).code ?? error;
    }
    return 'none';
  }

  it('joins chunks, also one that cuts a character', async () => {
    const bytes = Buffer.from('{"a":"ü€😀"}');
    for (let cut = 1; cut < bytes.length; cut++) {
      const value = await reader().readJson(request([bytes.subarray(0, cut), bytes.subarray(cut)]));
      expect(value).to.deep.equal({ a: 'ü€😀' });
    }
  });

  it('takes exactly as many bytes as allowed', async () => {
    expect(await reader(4).readJson(request(['12', '34']))).to.equal(1234);
    expect(await failure(reader(3).readJson(request(['12', '34'])))).to.equal('body_too_large');
    expect(await failure(reader(3).readJson(request(['1'], { ...json, 'content-length': '4' })))).to.equal(
      'body_too_large',
    );
  });

  it('refuses invalid UTF-8 wherever it is', async () => {
    for (const bytes of [
      [0x22, 0xff, 0x22],
      [0x22, 0xc3, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x31, 0x80],
    ]) {
      expect(await failure(reader().readJson(request([Buffer.from(bytes)])))).to.equal('malformed_json');
    }
  });

  for (const type of [
    'application/json',
    'Application/JSON; Charset="UTF-8"',
    'application/json;charset=utf8',
    'application/json;',
  ]) {
    it(`takes ${type}`, async () => {
      expect(await reader().readJson(request(['1'], { 'content-type': type }))).to.equal(1);
    });
  }

  it('tells lines from JSON', async () => {
    const lines = request(['1\n2'], { 'content-type': 'application/x-ndjson' });
    expect(await reader().readText(lines, ['json', 'ndjson'])).to.deep.equal({
      kind: 'ndjson',
      text: '1\n2',
    });
  });

  const kinds: readonly (readonly [type: string, kind: BodyKind])[] = [
    ['application/json', 'json'],
    ['application/ndjson', 'ndjson'],
    ['application/cloudevents+json', 'cloudevent'],
    ['application/cloudevents+json; charset=UTF-8', 'cloudevent'],
    ['Application/CloudEvents-Batch+JSON', 'cloudevent-batch'],
  ];
  for (const [type, kind] of kinds) {
    it(`takes ${type} where it is asked for, and only there`, async () => {
      const body = (): IncomingMessage => request(['1'], { 'content-type': type });
      expect(await reader().readText(body(), [kind])).to.deep.equal({ kind, text: '1' });
      const others = kinds.map(([, other]) => other).filter((other) => other !== kind);
      expect(await failure(reader().readText(body(), others))).to.equal('unsupported_media_type');
    });
  }

  it('takes a missing body where there may be none', async () => {
    expect(await reader().readOptionalJson(request([], {}))).to.equal(undefined);
    expect(await reader().readOptionalJson(request([], { 'content-length': '0' }))).to.equal(undefined);
    expect(await reader().readOptionalJson(request(['2'], { ...json, 'content-length': '1' }))).to.equal(2);
  });

  it('takes a body of no bytes in chunks for none, and wants to know the type of any other', async () => {
    const chunked = { 'transfer-encoding': 'chunked' };
    for (const headers of [chunked, { ...json, ...chunked }]) {
      expect(await reader().readOptionalJson(request([], headers))).to.equal(undefined);
    }
    expect(await reader().readOptionalJson(request(['{}'], { ...json, ...chunked }))).to.deep.equal({});
    expect(await failure(reader().readOptionalJson(request(['{}'], chunked)))).to.equal(
      'unsupported_media_type',
    );
    const text = { 'content-type': 'text/plain', ...chunked };
    expect(await failure(reader().readOptionalJson(request([], text)))).to.equal('unsupported_media_type');
    expect(await failure(reader().readJson(request([], { ...json, ...chunked })))).to.equal('malformed_json');
  });

  it('notices a caller that hangs up', async () => {
    const req = request(['1']);
    const reading = failure(reader().readJson(req));
    req.destroy();
    expect(await reading).to.be.instanceOf(BodyAborted);
  });

  it('counts a body as worked on from its end on', async () => {
    const inFlight = new InFlight(0);
    const req = request(['{}']);
    const reading = failure(reader(100, 100, inFlight).readJson(req));
    expect(inFlight.workedOn).to.equal(-1);
    expect(await reading).to.equal('none');
    expect(inFlight.workedOn).to.equal(0);
  });

  it('refuses an unfinished body beyond the bound, and takes one that is whole', async () => {
    const bounded = reader(100, 1);
    expect(await bounded.readJson(request(['2']))).to.equal(2);
    const endless = Object.assign(new Readable({ read: () => undefined }), { headers: json });
    const others = [endless, Object.assign(new Readable({ read: () => undefined }), { headers: json })];
    const [held, refused] = others.map((req) => failure(bounded.readJson(req as unknown as IncomingMessage)));
    expect(await refused).to.equal('overloaded');
    expect(await bounded.readJson(request(['3']))).to.equal(3);
    endless.destroy();
    expect(await held).to.be.instanceOf(BodyAborted);
  });
});
