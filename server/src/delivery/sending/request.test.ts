/** What a request carries, and what is kept of its answer. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { suite, test } from 'node:test';
import { parseEvent, verify, verifySignature } from '@pontage/sdk';
import { compactDecrypt } from 'jose';
import { renderBody } from '../../events/catalogue.ts';
import { startReceiver } from '../testing.ts';
import { createSequencer } from './sequence.ts';
import { createRedactor, SNIPPET_BYTES_MAX } from './snippet.ts';
import { anEndpoint, anEvent, NOW, SECRET, startSender } from './testing.ts';
import { childTraceparent } from './tracing.ts';

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

suite('a request', () => {
  test('carries both signatures, the own headers, the sequence and the trace', async (t) => {
    const receiver = await startReceiver(t);
    const customHeaders = [
      ['X-Api-Key', 'clé "of" the gateway'],
      ['Authorization', 'Bearer abcdef'],
    ] as const;
    const sender = startSender(t, anEndpoint(receiver.url, { customHeaders }), { random: () => 0.5 });
    const event = anEvent({ sequences: [1, 5, 2, 7, 0], traceparent: PARENT });
    assert.equal((await sender.attempt(event)).failure, null);
    const { headers, body } = receiver.received[0]!;
    assert.equal(verify(body, headers, SECRET, { now: NOW }).type, 'item.created');
    assert.match(String(headers['webhook-signature']), /^v1,[A-Za-z0-9+/]{43}=$/);
    assert.equal(headers['content-type'], 'application/json');
    assert.equal(headers['user-agent'], 'Pontage/1.2.3');
    assert.equal(headers['x-api-key'], 'clé "of" the gateway');
    assert.equal(headers.authorization, 'Bearer abcdef');
    assert.equal(headers['pontage-sequence'], '15');
    assert.equal(headers.traceparent, '00-0af7651916cd43dd8448eb211c80319c-8000000080000000-01');
    assert.equal(headers['webhook-timestamp'], String(Math.floor(NOW / 1_000)));
  });

  test('of an event without an item or a trace has no such headers', async (t) => {
    const receiver = await startReceiver(t);
    await startSender(t, anEndpoint(receiver.url)).attempt();
    const { headers } = receiver.received[0]!;
    assert.deepEqual([headers['pontage-sequence'], headers.traceparent], [undefined, undefined]);
  });

  test('follows changed subscriptions on the same connections, and asks for another sender for all else', async (t) => {
    const receiver = await startReceiver(t);
    const endpoint = anEndpoint(receiver.url);
    const sender = startSender(t, endpoint);
    const event = anEvent({ seq: 11, sequences: [1, 5, 2, 7, 0] });
    await sender.attempt(event);
    const versions = [...endpoint.versions, { version: 2, events: ['item.refreshed'], from: [10] }];
    assert.equal(sender.follow({ ...endpoint, versions, ordering: 'none', ratePerS: 5 }), true);
    const second = await sender.attempt(event);
    assert.equal(second.timings.connectMs, null);
    assert.deepEqual(
      receiver.received.map(({ headers }) => headers['pontage-sequence']),
      ['15', '5'],
    );
    const others = [{ url: `${receiver.url}x` }, { secrets: [] }, { deadlineMs: 5_000 }, { customHeaders: [['a', 'b']] as const }];
    for (const change of others) assert.equal(sender.follow({ ...endpoint, ...change }), false, JSON.stringify(change));
  });

  test('can be encrypted for the receiver alone, and is signed as it is sent', async (t) => {
    const receiver = await startReceiver(t);
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    const curve = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const x25519 = generateKeyPairSync('x25519');
    const keys = [
      { pair: rsa, alg: 'RSA-OAEP-256' },
      { pair: curve, alg: 'ECDH-ES+A256KW' },
      { pair: x25519, alg: 'ECDH-ES+A256KW' },
    ] as const;
    for (const [index, { pair, alg }] of keys.entries()) {
      const key: JsonWebKey & { kid: string } = { ...pair.publicKey.export({ format: 'jwk' }), kid: `key ${index}` };
      const sender = startSender(t, anEndpoint(receiver.url, { encryption: { key, alg, enc: 'A256GCM' } }));
      assert.equal((await sender.attempt()).failure, null, alg);
      const { headers, body } = receiver.received.at(-1)!;
      assert.equal(headers['content-type'], 'application/jose');
      const { plaintext, protectedHeader } = await compactDecrypt(body, pair.privateKey);
      assert.equal(Buffer.from(plaintext).toString(), renderBody(anEvent()));
      assert.deepEqual(
        [protectedHeader.alg, protectedHeader.enc, protectedHeader.kid, protectedHeader.cty],
        [alg, 'A256GCM', `key ${index}`, 'application/json'],
      );
      // Over the bytes that were sent, not over what they hold.
      verifySignature(body, headers, SECRET, { now: NOW });
      assert.throws(() => verifySignature(plaintext, headers, SECRET, { now: NOW }), { code: 'signature_mismatch' });
      assert.equal(parseEvent(new TextDecoder().decode(plaintext)).type, 'item.created');
    }
    assert.notEqual(receiver.received[0]!.body, receiver.received[1]!.body);
  });

  test('is not sent where nothing can sign it', async (t) => {
    const receiver = await startReceiver(t);
    const outcome = await startSender(t, anEndpoint(receiver.url, { secrets: [{ secret: SECRET, expiresAt: NOW }] })).attempt();
    assert.deepEqual([outcome.failure?.class, receiver.received.length], ['secret', 0]);
  });
});

suite('a failing answer', () => {
  test('is kept without what we sent or hold, however it is written', async (t) => {
    const encoded = SECRET.slice('whsec_'.length);
    const hex = Buffer.from(encoded, 'base64').toString('hex');
    const receiver = await startReceiver(t, (request, response) => {
      const echoed = { ...request.headers, secret: SECRET, encoded, hex, upper: hex.toUpperCase() };
      const text = JSON.stringify(echoed).replaceAll('/', '\\/');
      response
        .writeHead(400, { location: `/x?key=${encodeURIComponent('the/key+of=gateway')}` })
        .end(text + new URLSearchParams({ encoded }));
    });
    const customHeaders = [['X-Api-Key', 'the/key+of=gateway']] as const;
    const outcome = await startSender(t, anEndpoint(receiver.url, { customHeaders })).attempt();
    const { headers } = receiver.received[0]!;
    const snippet = outcome.snippet!.replaceAll('\\/', '/');
    const standard = String(headers['webhook-signature']).slice(3);
    const bridge = String(headers['bridgeapi-signature']).slice(3);
    for (const secret of [SECRET, encoded, encodeURIComponent(encoded), hex, hex.toUpperCase(), 'the/key+of=gateway', standard, bridge]) {
      assert.ok(!snippet.includes(secret), secret);
    }
    assert.ok(snippet.includes('[redacted]') && snippet.includes('webhook-id') && snippet.includes('Pontage/1.2.3'), 'the rest is kept');
  });

  test('loses a secret that its end would have cut in two', () => {
    const redactor = createRedactor({ secrets: [{ secret: SECRET, expiresAt: null }], customHeaders: [] });
    for (const before of [SNIPPET_BYTES_MAX - SECRET.length, SNIPPET_BYTES_MAX - 20, SNIPPET_BYTES_MAX - 1]) {
      const snippet = redactor.snippet(Buffer.from(`${'a'.repeat(before)}${SECRET}zzz`), []);
      assert.ok(snippet.length <= SNIPPET_BYTES_MAX && !snippet.includes('w'), String(before));
    }
  });

  test('is text without NUL and without half a character', () => {
    const redactor = createRedactor({ secrets: [], customHeaders: [] });
    assert.equal(redactor.snippet(Buffer.from('a\0b'), []), 'ab');
    const snippet = redactor.snippet(Buffer.from('é'.repeat(SNIPPET_BYTES_MAX)), []);
    assert.equal(snippet, 'é'.repeat(SNIPPET_BYTES_MAX / 2));
    assert.equal(redactor.snippet(Buffer.from(`x${'é'.repeat(SNIPPET_BYTES_MAX)}`), []).length, SNIPPET_BYTES_MAX / 2);
    assert.equal(redactor.snippet(Buffer.from([0xff, 0x41]), []), '\ufffdA');
  });

  test('keeps short values of headers, which are no secrets', () => {
    const redactor = createRedactor({ secrets: [], customHeaders: [['X-Tenant', '7']] });
    assert.equal(redactor.text('error 7', []), 'error 7');
  });

  test('asks for time with 429 and 503, and its redirect is redacted', async (t) => {
    let status = 429;
    const receiver = await startReceiver(t, (_, response) =>
      response.writeHead(status, { 'retry-after': '7', location: '/login?key=abcdefghijkl' }).end(),
    );
    const sender = startSender(t, anEndpoint(receiver.url, { customHeaders: [['X-Api-Key', 'abcdefghijkl']] }));
    assert.equal((await sender.attempt()).retryAfterMs, 7_000);
    status = 302;
    const redirected = await sender.attempt();
    assert.equal(redirected.retryAfterMs, null);
    assert.equal(
      redirected.failure?.message,
      "The receiver answered 302 to /login?key=[redacted]. Webhooks never follow redirects: let the webhook's path through without a login, and check the signature instead.",
    );
    assert.equal(receiver.received.length, 2);
  });
});

suite('sequence', () => {
  const sequences = [1, 20, 3, 40, 5];

  test('counts the kinds that the version in force at the event subscribes to', () => {
    const sequence = createSequencer([
      { version: 1, events: ['item.created', 'item.refreshed'], from: [10] },
      { version: 2, events: ['item.account.updated', 'pontage.delivery.dead'], from: [20] },
    ]);
    assert.equal(sequence(anEvent({ seq: 20, sequences })), 21);
    assert.equal(sequence(anEvent({ seq: 21, sequences })), 40);
    assert.equal(sequence(anEvent({ seq: 10, sequences })), null, 'before it was made');
    assert.equal(sequence(anEvent({ seq: 21 })), null);
  });
});

suite('traceparent', () => {
  test('is of the same trace with a span of its own', () => {
    assert.equal(
      childTraceparent(PARENT, () => 0.25),
      '00-0af7651916cd43dd8448eb211c80319c-4000000040000000-01',
    );
    const randoms = [0.1, 0.9];
    assert.match(childTraceparent(PARENT, () => randoms.shift()!)!, /-19999999e6666666-01$/);
    assert.match(childTraceparent(PARENT, () => 0)!, /-0{15}1-01$/, 'zeros are no id');
  });

  test('is left out where its parent is none', () => {
    const bad = [
      '',
      'x',
      PARENT.toUpperCase(),
      PARENT.replace(/^00/, 'ff'),
      `${PARENT}-extra`,
      PARENT.replace(/0af\w+/, '0'.repeat(32)),
      PARENT.replace(/b7ad\w+/, '0'.repeat(16)),
    ];
    for (const parent of bad)
      assert.equal(
        childTraceparent(parent, () => 0.5),
        null,
        parent,
      );
  });
});
