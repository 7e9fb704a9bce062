/** Bodies that are not JSON. */
export const MALFORMED_BODIES: readonly (readonly [what: string, body: string | Uint8Array])[] = [
  ['nothing but blanks', '   '],
  ['cut off', '{"name":"purchase_made"'],
  ['a trailing comma', '{"name":"purchase_made",}'],
  ['single quotes', "{'name':'purchase_made'}"],
  ['two documents', '{}{}'],
  ['NaN', '{"amount":NaN}'],
  ['a raw control character', '{"name":"a\u0001"}'],
  ['invalid UTF-8', new Uint8Array([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xc3, 0x28, 0x22, 0x7d])],
  ['an overlong encoding', new Uint8Array([0x22, 0xc0, 0xaf, 0x22])],
  ['a lone surrogate in UTF-8', new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22])],
  ['UTF-16', new Uint8Array([0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00])],
  ['5,000 open brackets', '['.repeat(5000)],
];

const event = (name: string, properties: string, more = ''): string =>
  `{"name":${JSON.stringify(name)},"event_properties":${properties}${more}}`;
const purchase = (properties: string): string => event('purchase_made', `{"user_id":"u",${properties}}`);
const flag = (userId: string, more = ''): string =>
  event('scam_message_flagged', `{"user_id":${userId}}`, more);
const long = JSON.stringify('x'.repeat(200));
const deep = `${'['.repeat(5000)}${']'.repeat(5000)}`;
const deepObject = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;

/** Bodies that are JSON and that nothing of weir may take, wherever they are sent. */
export const HOSTILE_BODIES: readonly (readonly [what: string, body: string])[] = [
  ['null', 'null'],
  ['a number', '1'],
  ['a text', '"purchase_made"'],
  ['an array in an array', '[[]]'],
  ['no properties', '{"name":"purchase_made"}'],
  ['properties that are null', event('purchase_made', 'null')],
  ['properties that are an array', event('purchase_made', '[]')],
  ['properties that are a text', event('purchase_made', '"u"')],
  ['a name that is an array', '{"name":["purchase_made"],"event_properties":{"user_id":"u","amount":1}}'],
  ['__proto__ as properties', '{"name":"purchase_made","__proto__":{"event_properties":{"user_id":"u"}}}'],
  ['__proto__ beside the rest', flag('"u"', ',"__proto__":{"admin":true}')],
  ['__proto__ in the properties', purchase('"amount":1,"__proto__":{"amount":2}')],
  ['__proto__ instead of a user', event('scam_message_flagged', '{"__proto__":{"user_id":"u"}}')],
  ['a plain __proto__ in the properties', purchase('"amount":1,"__proto__":1')],
  ['a plain constructor in the properties', purchase('"amount":1,"constructor":1')],
  ['constructor in the properties', purchase('"amount":1,"constructor":{"prototype":{}}')],
  ['1e999', purchase('"amount":1e999')],
  ['-1e999', purchase('"amount":-1e999')],
  ['1e-999', purchase('"amount":1e-999')],
  ['an amount of 0', purchase('"amount":0')],
  ['an amount of -0', purchase('"amount":-0')],
  ['a negative amount', purchase('"amount":-0.01')],
  ['five decimals', purchase('"amount":0.12345')],
  ['a fraction of a ten-thousandth', purchase('"amount":1e-5')],
  ['an amount as text', purchase('"amount":"1"')],
  ['an amount that is null', purchase('"amount":null')],
  ['an amount that is true', purchase('"amount":true')],
  ['an amount in an array', purchase('"amount":[1]')],
  ['no amount', event('purchase_made', '{"user_id":"u"}')],
  ['no user', event('purchase_made', '{"amount":1}')],
  ['an empty user', flag('""')],
  ['a user that is a number', flag('7')],
  ['a user that is an object', flag('{"toString":"u"}')],
  ['a user of 129 characters', flag(JSON.stringify('x'.repeat(129)))],
  ['a user of 200 characters', flag(long)],
  ['a user with U+0000', flag('"a\\u0000b"')],
  ['a user with a lone surrogate', flag('"a\\ud800b"')],
  [
    'a card of 200 characters',
    event('credit_card_added', `{"user_id":"u","card_id":${long},"zip_code":"1"}`),
  ],
  ['an empty card', event('credit_card_added', '{"user_id":"u","card_id":"","zip_code":"1"}')],
  ['a card without zip code', event('credit_card_added', '{"user_id":"u","card_id":"c"}')],
  [
    'a zip code with U+0000',
    event('credit_card_added', '{"user_id":"u","card_id":"c","zip_code":"\\u0000"}'),
  ],
  ['an event id of 200 characters', flag('"u"', `,"event_id":${long}`)],
  ['an empty event id', flag('"u"', ',"event_id":""')],
  ['an event id that is a number', flag('"u"', ',"event_id":1')],
  ['an event id with a lone surrogate', flag('"u"', ',"event_id":"\\udfff"')],
  ['a timestamp that is none', flag('"u"', ',"timestamp":"yesterday"')],
  ['5,000 levels of arrays', deep],
  ['5,000 levels of objects', deepObject],
  ['5,000 levels in a property', purchase(`"amount":1,"more":${deep}`)],
  ['5,000 levels instead of a user', flag(deepObject)],
  [
    '10,000 properties',
    purchase(`"amount":1,${Array.from({ length: 10_000 }, (_, i) => `"p${i}":1`).join()}`),
  ],
];
