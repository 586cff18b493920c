import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  exampleEvent,
  sign,
  signedRequest,
  verify,
  verifySignature,
  type WebhookVerificationCode,
  WebhookVerificationError,
} from './index.ts';

const UUID_SECRET = '644b2ac3-0797-4ec6-9537-cb5c0af9caf9';
const OFFICIAL_BODY =
  '{"content":{"item_id":1234567890,"status":0,"user_uuid":"9a95b38f-f98b-417a-988b-9d0d584893e7"},"timestamp":1611681789,"type":"TEST_EVENT"}';
const OFFICIAL_SIGNATURE = 'v1=FAA8ECAC21DA6405D789C76EDB4003756398E7169DACC3FA70CF5919A81374A8';

const NEW_SECRET = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
const OLD_SECRET = 'whsec_Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=';
const NOW = 1_700_000_000_000;
const AT_NOW = { now: NOW };
const ID = 'evt_1';

const BODY = JSON.stringify(exampleEvent('item.account.updated'));
const HEADERS = sign(BODY, NEW_SECRET, { id: ID, timestamp: NOW / 1000 });

function refusal(action: () => unknown): WebhookVerificationError {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof WebhookVerificationError, String(error));
    return error;
  }
  return assert.fail('it was accepted');
}

function refuses(code: WebhookVerificationCode, message: RegExp, action: () => unknown): void {
  const error = refusal(action);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  assert.doesNotMatch(error.message, /whsec_[A-Z]|AAECAwQ|644b2ac3/);
}

function without(...names: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(HEADERS).filter(([name]) => !names.includes(name)));
}

test('the official vector', () => {
  assert.deepEqual(sign(OFFICIAL_BODY, UUID_SECRET, { id: ID, timestamp: 1 }), { 'BridgeApi-Signature': OFFICIAL_SIGNATURE });
  const event = verify(OFFICIAL_BODY, { 'BridgeApi-Signature': OFFICIAL_SIGNATURE }, UUID_SECRET);
  assert.deepEqual(event, exampleEvent('TEST_EVENT'));
});

test('vectors computed with openssl', () => {
  // printf '%s' "evt_1.1700000000.$BODY" | openssl dgst -sha256 -mac HMAC -macopt hexkey:0001…1f -binary | base64
  assert.equal(
    sign(OFFICIAL_BODY, NEW_SECRET, { id: ID, timestamp: 1_700_000_000 })['webhook-signature'],
    'v1,RY/CuCmIxBZSyCbNVjrmfW2KBtb3kgWC1HzfoDvfCjw=',
  );
  assert.equal(
    sign(OFFICIAL_BODY, NEW_SECRET, { id: ID, timestamp: 1_700_000_000 })['BridgeApi-Signature'],
    'v1=ADC6F4FD003197407C9F559C15D8F268961B9548FF1560AEFF23F2C2BF6B8E6C',
  );
});

const secretOf = fc.oneof(
  fc.uuid(),
  fc.uint8Array({ minLength: 24, maxLength: 64 }).map((key) => `whsec_${Buffer.from(key).toString('base64')}`),
);
const bodyOf = fc
  .tuple(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), fc.string({ unit: 'grapheme' }))
  .map(([content, label]) => JSON.stringify({ content, timestamp: 1, type: `x.${label}` }));
const idOf = fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/);

test('what was signed with any of the secrets verifies, as text and as bytes', () => {
  fc.assert(
    fc.property(
      bodyOf,
      fc.array(secretOf, { minLength: 1, maxLength: 2 }),
      idOf,
      fc.nat(),
      fc.nat(1),
      (body, secrets, id, timestamp, index) => {
        const headers = sign(body, secrets, { id, timestamp });
        const options = { now: timestamp * 1000 };
        const held = secrets[index] ?? secrets[0]!;
        assert.deepEqual(verify(body, headers, held, options), JSON.parse(body));
        assert.deepEqual(verify(Buffer.from(body), new Headers(headers), secrets, options), JSON.parse(body));
      },
    ),
  );
});

test('one changed byte of the body is refused', () => {
  fc.assert(
    fc.property(fc.nat(BODY.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = Buffer.from(BODY);
      bytes[at]! ^= flip;
      assert.match(refusal(() => verify(bytes, HEADERS, NEW_SECRET, AT_NOW)).code, /^(signature_mismatch|body_reserialised)$/);
    }),
  );
});

test('a body that is no event can have its signature verified alone', () => {
  const body = 'eyJhbGciOiJSU0EtT0FFUC0yNTYifQ.a.b.c.d';
  const headers = sign(body, NEW_SECRET, { id: ID, timestamp: NOW / 1000 });
  verifySignature(body, headers, NEW_SECRET, AT_NOW);
  refuses('body_not_an_event', /no event/, () => verify(body, headers, NEW_SECRET, AT_NOW));
  refuses('signature_mismatch', /./, () => verifySignature(`${body}x`, headers, NEW_SECRET, AT_NOW));
  refuses('timestamp_too_old', /./, () => verifySignature(body, headers, NEW_SECRET, { now: NOW + 301_000 }));
});

test('rotation: both signatures are sent, newest first and without a space, and either secret verifies', () => {
  const headers = sign(BODY, [NEW_SECRET, OLD_SECRET], { id: ID, timestamp: NOW / 1000 });
  assert.match(headers['BridgeApi-Signature']!, /^v1=[0-9A-F]{64},v1=[0-9A-F]{64}$/);
  assert.match(headers['webhook-signature']!, /^v1,\S{44} v1,\S{44}$/);
  assert.ok(headers['BridgeApi-Signature']!.startsWith(HEADERS['BridgeApi-Signature']!));
  for (const secrets of [NEW_SECRET, OLD_SECRET, [OLD_SECRET, NEW_SECRET]]) verify(BODY, headers, secrets, AT_NOW);
  verify(BODY, HEADERS, [OLD_SECRET, NEW_SECRET], AT_NOW);
});

test('rotation from a secret without prefix: each side verifies what it can', () => {
  const headers = sign(BODY, [NEW_SECRET, UUID_SECRET], { id: ID, timestamp: NOW / 1000 });
  verify(BODY, headers, UUID_SECRET, AT_NOW);
  verify(BODY, headers, [UUID_SECRET, NEW_SECRET], AT_NOW);
});

test('header names in any case, as lists, joined by a proxy, beside schemes of the future', () => {
  const upper = Object.fromEntries(Object.entries(HEADERS).map(([name, value]) => [name.toUpperCase(), [value]]));
  verify(BODY, upper, NEW_SECRET, AT_NOW);
  const lower = Object.fromEntries(Object.entries(HEADERS).map(([name, value]) => [name.toLowerCase(), value]));
  verify(BODY, lower, NEW_SECRET, AT_NOW);
  verify(BODY, new Map(Object.entries(lower)), NEW_SECRET, AT_NOW);
  const other = `v2=00, v1=${'0'.repeat(64)}, ${HEADERS['BridgeApi-Signature']!.toLowerCase()}`;
  const standard = `v1a,abc, v1,${'A'.repeat(43)}=, ${HEADERS['webhook-signature']}`;
  verify(BODY, { ...HEADERS, 'BridgeApi-Signature': other, 'webhook-signature': standard }, NEW_SECRET, AT_NOW);
});

test('one scheme alone is enough, unless the time is required', () => {
  const bridgeOnly = without('webhook-id', 'webhook-timestamp', 'webhook-signature');
  verify(BODY, bridgeOnly, NEW_SECRET, { ...AT_NOW, requireTimestamp: false });
  verify(BODY, bridgeOnly, [NEW_SECRET, UUID_SECRET], AT_NOW);
  verify(BODY, without('BridgeApi-Signature'), NEW_SECRET, AT_NOW);
  const required = { ...AT_NOW, requireTimestamp: true };
  for (const options of [AT_NOW, required])
    refuses('header_missing', /BridgeApi-Signature only: its time cannot be checked/, () => verify(BODY, bridgeOnly, NEW_SECRET, options));
  refuses('secret_unusable', /requireTimestamp is set, which needs a secret that starts with whsec_/, () =>
    verify(OFFICIAL_BODY, { 'BridgeApi-Signature': OFFICIAL_SIGNATURE }, UUID_SECRET, required),
  );
});

test('a body that is not raw', () => {
  const body = (value: unknown) => () => verify(value as string, HEADERS, NEW_SECRET, AT_NOW);
  refuses('body_not_raw', /already parsed to an object: pass the raw body/, body(JSON.parse(BODY)));
  refuses('body_not_raw', /^The body is undefined: pass the raw body/, body(undefined));
  refuses('body_not_raw', /^The body is null/, body(null));
  refuses('body_not_raw', /^The body is a number/, body(1));
  refuses('body_not_raw', /is a promise: await it/, body(Promise.resolve(BODY)));
  refuses('body_not_raw', /ArrayBuffer: pass new Uint8Array/, body(new ArrayBuffer(1)));
  refuses('body_empty', /before any body parser/, body(''));
});

test('a body that was written again', () => {
  const body = (text: string) => () => verify(text, HEADERS, NEW_SECRET, AT_NOW);
  refuses('body_reserialised', /another layout .* compact JSON/, body(JSON.stringify(JSON.parse(BODY), null, 2)));
  refuses('body_reserialised', /another layout/, body(BODY.replaceAll(':', ': ')));
  refuses('body_reserialised', /Whitespace was added/, body(`${BODY}\n`));
  refuses('body_reserialised', /looks parsed and written again/, body(JSON.stringify({ ...JSON.parse(BODY), more: 1 }, null, 2)));
  const accented = JSON.stringify({ content: { name: 'Crédit' }, timestamp: 1, type: 'x' });
  const headers = sign(accented, NEW_SECRET, { id: ID, timestamp: NOW / 1000 });
  const latin1 = Buffer.from(accented, 'utf8').toString('latin1');
  refuses('body_reserialised', /Latin-1 instead of UTF-8/, () => verify(latin1, headers, NEW_SECRET, AT_NOW));
});

test('a body that was signed but is no event', () => {
  const signed = (body: string) => () => verify(body, sign(body, NEW_SECRET, { id: ID, timestamp: NOW / 1000 }), NEW_SECRET, AT_NOW);
  refuses('body_not_an_event', /signature is right, but the body is no event\. The body is not JSON/, signed('hello'));
  refuses('body_not_an_event', /`content` must be an object/, signed('{"timestamp":1,"type":"x"}'));
});

test('headers that are not headers, missing or malformed', () => {
  const headers = (value: unknown) => () => verify(BODY, value as Headers, NEW_SECRET, AT_NOW);
  refuses('headers_unusable', /^The headers are undefined: pass request\.headers/, headers(undefined));
  refuses('headers_unusable', /^The headers are null/, headers(null));
  refuses('headers_unusable', /^The headers are an array/, headers(['a', 'b']));
  refuses('headers_unusable', /whole request: pass request\.headers/, headers({ headers: HEADERS }));
  const neither = /neither webhook-signature nor BridgeApi-Signature.* Headers received: host, accept\.$/;
  refuses('header_missing', neither, headers({ host: 'a', accept: 'b' }));
  refuses('header_missing', /Headers received: accept\.$/, headers(new Headers({ accept: 'b' })));
  refuses('header_missing', /Headers received: none\.$/, headers({}));
  refuses('header_missing', /carries no signature/, headers({ 'BridgeApi-Signature': ' ' }));
  refuses('header_missing', /and 5 more\.$/, headers(Object.fromEntries(Array.from({ length: 35 }, (_, index) => [`x-${index}`, 'y']))));
  refuses('header_missing', /only some .*: webhook-id and webhook-timestamp missing/, headers(without('webhook-id', 'webhook-timestamp')));
  refuses('header_missing', /: webhook-signature missing/, headers(without('webhook-signature')));
  const changed = (name: string, value: string | string[]) => headers({ ...HEADERS, [name]: value });
  refuses('header_malformed', /BridgeApi-Signature has no element of the form v1=/, changed('BridgeApi-Signature', 'v1=12'));
  refuses('header_malformed', /webhook-signature has no element of the form v1,/, changed('webhook-signature', 'v1=12'));
  refuses('header_malformed', /webhook-timestamp is in milliseconds/, changed('webhook-timestamp', String(NOW)));
  refuses('header_malformed', /webhook-timestamp is not a whole number/, changed('webhook-timestamp', '1e9'));
  refuses('header_malformed', /webhook-id arrived more than once/, changed('webhook-id', ['a', 'b']));
});

test('secrets that cannot be used', () => {
  const secrets = (value: unknown) => () => verify(BODY, HEADERS, value as string, AT_NOW);
  refuses('secret_missing', /^The secret is undefined: .*environment variable/, secrets(undefined));
  refuses('secret_missing', /^The secret is empty/, secrets(''));
  refuses('secret_missing', /^The list of secrets is empty/, secrets([]));
  refuses('secret_missing', /^Secret 2 of 2 is undefined/, secrets([NEW_SECRET, undefined]));
  refuses('secret_malformed', /^The secret must be a string, not object/, secrets({}));
  refuses('secret_malformed', /^The secret ends with a line break.*trim it/, secrets(`${NEW_SECRET}\n`));
  refuses('secret_malformed', /^Secret 1 of 2 starts or ends with whitespace/, secrets([` ${NEW_SECRET}`, OLD_SECRET]));
  refuses('secret_malformed', /quotation marks/, secrets(`"${NEW_SECRET}"`));
  refuses('secret_malformed', /not base64: it was cut or changed/, secrets('whsec_*'));
  refuses('secret_malformed', /not base64/, secrets('whsec_'));
  refuses('secret_unusable', /webhook-signature only, which needs a secret that starts with whsec_/, () =>
    verify(BODY, without('BridgeApi-Signature'), UUID_SECRET, AT_NOW),
  );
});

test('a signature of another secret, or a header changed on the way', () => {
  refuses('signature_mismatch', /not made with the secret .*another webhook/, () => verify(BODY, HEADERS, OLD_SECRET, AT_NOW));
  refuses('signature_mismatch', /any of the 2 secrets/, () => verify(BODY, HEADERS, [OLD_SECRET, UUID_SECRET], AT_NOW));
  const changed = (name: string, value: string) => () => verify(BODY, { ...HEADERS, [name]: value }, NEW_SECRET, AT_NOW);
  refuses('signature_mismatch', /^BridgeApi-Signature is right but webhook-signature is not/, changed('webhook-id', 'evt_2'));
  refuses('signature_mismatch', /^BridgeApi-Signature is right/, changed('webhook-timestamp', '1700000001'));
  refuses('signature_mismatch', /^webhook-signature is right/, changed('BridgeApi-Signature', `v1=${'0'.repeat(64)}`));
});

test('the time of signing', () => {
  const at = (offsetMs: number, toleranceMs?: number) => () => verify(BODY, HEADERS, NEW_SECRET, { now: NOW + offsetMs, toleranceMs });
  at(300_000)();
  at(-300_000)();
  at(86_400_000, Number.POSITIVE_INFINITY)();
  refuses('timestamp_too_old', /signed 301 s ago, more than the 300 s allowed/, at(301_000));
  refuses('timestamp_too_old', /signed 2 s ago, more than the 1 s/, at(2000, 1000));
  refuses('timestamp_too_new', /signed 301 s in the future/, at(-301_000));
  refuses('option_invalid', /toleranceMs/, at(0, Number.NaN));
  refuses('option_invalid', /toleranceMs/, at(0, -1));
  refuses('option_invalid', /now/, at(Number.NaN));
});

test('sign refuses what could not be verified', () => {
  assert.throws(() => sign(BODY, NEW_SECRET, { id: 'a.b', timestamp: 1 }), RangeError);
  assert.throws(() => sign(BODY, NEW_SECRET, { id: '', timestamp: 1 }), RangeError);
  assert.throws(() => sign(BODY, NEW_SECRET, { id: 'a\nb', timestamp: 1 }), RangeError);
  assert.throws(() => sign(BODY, NEW_SECRET, { id: ID, timestamp: 1.5 }), RangeError);
  assert.throws(() => sign(BODY, [], { id: ID, timestamp: 1 }), /^TypeError: The list of secrets is empty/);
});

test('signedRequest makes what verify accepts', () => {
  const event = exampleEvent('item.created');
  const request = signedRequest({ event, secret: [NEW_SECRET, OLD_SECRET], url: 'http://localhost/hook', now: NOW + 999 });
  assert.equal(request.method, 'POST');
  assert.equal(request.url, 'http://localhost/hook');
  assert.equal(request.headers['content-type'], 'application/json');
  assert.deepEqual(verify(request.body, request.headers, OLD_SECRET, AT_NOW), event);
  assert.equal('url' in signedRequest({ event, secret: NEW_SECRET }), false);
  const again = signedRequest({ event, secret: NEW_SECRET, now: NOW + 60_000 });
  assert.equal(again.headers['webhook-id'], request.headers['webhook-id']);
});
