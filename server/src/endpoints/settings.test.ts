import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { suite, test } from 'node:test';
import { type Issued, type IssueFields, makeAuthority } from '../../test/support/certificate-authority.ts';
import { certificate, privateKey } from '../../test/support/certificates.ts';
import { DAY_MS, SECOND_MS } from '../base/clock.ts';
import { certificateFault, summarize } from './certificate.ts';
import { encryptionFault } from './encryption.ts';
import { type CustomHeader, headersFault } from './headers.ts';
import { type EndpointSettings, settingsFault } from './settings.ts';

const NOW = Date.parse('2026-06-01T00:00:00Z');

suite('settings', () => {
  test('are accepted at their limits and refused beyond, with the field', () => {
    const accepted: Partial<EndpointSettings>[] = [
      {},
      { ordering: 'none', concurrencyMax: 1, ratePerS: 0.1, deadlineMs: 1_000, retryDelaysMs: [1_000], silentAfterMs: 3_600_000 },
      { concurrencyMax: 256, ratePerS: 10_000, deadlineMs: 30_000, retryDelaysMs: Array(15).fill(7 * DAY_MS), silentAfterMs: 30 * DAY_MS },
      { concurrencyMax: null, ratePerS: null, deadlineMs: null, retryDelaysMs: null, silentAfterMs: null, encryption: null },
      { customHeaders: [], clientCertificate: null },
    ];
    for (const settings of accepted) assert.equal(settingsFault(settings, NOW), null, JSON.stringify(settings));
    const refused: [keyof EndpointSettings, unknown][] = [
      ['ordering', 'user'],
      ['concurrencyMax', 0],
      ['concurrencyMax', 257],
      ['concurrencyMax', 1.5],
      ['concurrencyMax', Number.NaN],
      ['ratePerS', 0],
      ['ratePerS', -1],
      ['ratePerS', 10_001],
      ['ratePerS', Number.POSITIVE_INFINITY],
      ['deadlineMs', 999],
      ['deadlineMs', 30_001],
      ['retryDelaysMs', []],
      ['retryDelaysMs', Array(16).fill(SECOND_MS)],
      ['retryDelaysMs', [SECOND_MS, 999]],
      ['retryDelaysMs', [7 * DAY_MS + 1]],
      ['silentAfterMs', 1_000],
      ['silentAfterMs', 31 * DAY_MS],
    ];
    for (const [field, value] of refused) {
      const fault = settingsFault({ [field]: value }, NOW);
      assert.equal(fault?.field, field, `${field} ${value}`);
      assert.match(fault!.sentence, /^[A-Z].*\.$/);
    }
    assert.equal(settingsFault({ deadlineMs: 1 }, NOW)?.sentence, 'The deadline of a request must be from 1 second to 30 seconds.');
  });
});

suite('custom headers', () => {
  test('are what a gateway may ask for', () => {
    const headers: CustomHeader[] = [
      ['Authorization', 'Bearer abc.def'],
      ['X-Api-Key', 'é, a "quoted" one\twith a tab'],
      ['x_under.score', '1'],
    ];
    assert.equal(headersFault(headers), null);
  });

  test('cannot be those that delivery or the connection needs', () => {
    const reserved = ['Host', 'content-type', 'Content-Length', 'transfer-encoding', 'Connection', 'TE', 'Upgrade', 'Expect', 'user-agent'];
    const more = [
      'Webhook-Id',
      'webhook-anything',
      'BridgeApi-Signature',
      'traceparent',
      'tracestate',
      'Pontage-Sequence',
      'Proxy-Authorization',
    ];
    for (const name of [...reserved, ...more]) assert.match(headersFault([[name, 'x']]) ?? '', /reserved/, name);
  });

  test('cannot smuggle another header or line', () => {
    const names = ['', 'a b', 'a:', 'a\r\nb', 'a\0', 'é', '"a"', 'x'.repeat(101)];
    for (const name of names) assert.ok(headersFault([[name, 'x']]), JSON.stringify(name));
    const values = [
      '',
      ' a',
      'a ',
      'a\r\nb: c',
      'a\nb',
      'a\rb',
      'a\0b',
      'a\u0085b',
      'a\u{1F600}',
      'ā',
      'a\u2028b',
      'a\x7fb',
      'x'.repeat(4_001),
    ];
    for (const value of values) {
      const fault = headersFault([['X-Key', value]]);
      assert.match(fault ?? '', /X-Key/, JSON.stringify(value));
      assert.ok(value.length < 3 || !fault!.includes(value), 'a value is never repeated');
    }
  });

  test('are few, short together, and each once', () => {
    const many = (count: number, length: number) =>
      Array.from({ length: count }, (_, index): CustomHeader => [`x-${index}`, 'v'.repeat(length)]);
    assert.equal(headersFault(many(20, 10)), null);
    assert.match(headersFault(many(21, 10))!, /20/);
    assert.match(headersFault(many(4, 2_000))!, /together/);
    assert.match(
      headersFault([
        ['X-Key', 'a'],
        ['x-key', 'b'],
      ])!,
      /twice/,
    );
  });
});

suite('client certificates', () => {
  const valid = { certificate: certificate('client'), key: privateKey('client') };

  test('are a pair that belongs together and has not expired', () => {
    assert.equal(certificateFault(valid, NOW), null);
    assert.equal(certificateFault({ ...valid, certificate: valid.certificate + certificate('authority') }, NOW), null, 'with its chain');
    assert.match(certificateFault({ ...valid, key: privateKey('server') }, NOW)!, /belong together/);
    assert.match(certificateFault({ ...valid, certificate: certificate('client-expired') }, NOW)!, /expired on 2026-03-01/);
    assert.match(certificateFault({ ...valid, certificate: 'nothing' }, NOW)!, /PEM/);
    assert.match(certificateFault({ ...valid, certificate: valid.key }, NOW)!, /PEM/);
    assert.match(certificateFault({ ...valid, key: valid.certificate }, NOW)!, /passphrase/);
    const locked = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' },
    });
    assert.match(certificateFault({ ...valid, key: locked.privateKey }, NOW)!, /passphrase/);
  });

  test('come with a chain in which each one was issued by the next', () => {
    const root = makeAuthority('root');
    const middle = root.issue('middle');
    const leaf = middle.issue('leaf');
    const stranger = makeAuthority('stranger').issue('middle');
    const fault = (...chain: readonly { pem: string }[]) =>
      certificateFault({ certificate: chain.map(({ pem }) => pem).join('some words\n'), key: leaf.key }, NOW);
    for (const chain of [[leaf], [leaf, middle], [leaf, middle, root]]) assert.equal(fault(...chain), null);
    const refused: [readonly { pem: string }[], RegExp][] = [
      [[leaf, root], /^The second certificate of the chain did not issue the first \(CN=leaf\): it was issued by CN=middle\.$/],
      [[leaf, root, middle], /^The second .* did not issue the first \(CN=leaf\): the third did, and must follow it\.$/],
      [[leaf, stranger], /^The second .* did not issue the first \(CN=leaf\): it was issued by CN=middle\.$/],
      [[leaf, middle, stranger], /^The third .* did not issue the second \(CN=middle\): it was issued by CN=root\.$/],
      [[middle, leaf], /^The key belongs to the second certificate of the chain: that one must come first/],
      [[leaf, leaf], /^The second certificate of the chain is the same as the first: give each one once\.$/],
      [[leaf, middle, { pem: middle.pem.replace('\nM', '\nZ') }], /^The third certificate of the chain cannot be read/],
      [[leaf, { pem: middle.pem.slice(0, 200) }], /^The client certificate is cut short/],
      [[leaf, { pem: leaf.key }], /^The client certificate's file has a block PRIVATE KEY: give PEM certificates alone/],
      [[leaf, ...Array(10).fill(middle)], /a chain of 11: give at most 10, leaf first/],
    ];
    for (const [chain, sentence] of refused) assert.match(fault(...chain) ?? 'accepted', sentence);
  });

  test('are valid now, the whole chain', () => {
    const root = makeAuthority('root');
    const fault = (middle: Issued, fields: IssueFields = {}) => {
      const leaf = middle.issue('leaf', fields);
      return certificateFault({ certificate: leaf.pem + middle.pem + root.pem, key: leaf.key }, NOW);
    };
    const [day, later] = ['2026-05-31', '2026-06-02'];
    assert.match(fault(root.issue('middle', { to: day }))!, /^The second certificate of the chain \(CN=middle\) expired on 2026-05-31: /);
    assert.match(fault(root.issue('middle', { from: later }))!, /\(CN=middle\) is not valid before 2026-06-02T00:00:00\.000Z: /);
    assert.match(fault(root.issue('middle'), { to: day })!, /^The client certificate expired on 2026-05-31: /);
    assert.match(fault(root.issue('middle'), { from: later })!, /^The client certificate is not valid before 2026-06-02T00:00:00\.000Z: /);
    assert.equal(fault(root.issue('middle')), null);
  });

  test('are strong enough for TLS', () => {
    const short = generateKeyPairSync('rsa', { modulusLength: 1_024 });
    const weak = makeAuthority('root').issue('leaf', { keys: short });
    assert.match(certificateFault({ certificate: weak.pem, key: weak.key }, NOW)!, /cannot be used for TLS: ee key too small\.$/);
    const strong = makeAuthority('root', { keys: generateKeyPairSync('rsa', { modulusLength: 2_048 }) });
    assert.equal(certificateFault({ certificate: strong.pem, key: strong.key }, NOW), null);
  });

  test('show their subject, their end and their fingerprint', () => {
    const summary = summarize(valid.certificate);
    assert.deepEqual([summary.subject, summary.expiresAt], ['CN=pontage client', Date.parse('2126-01-01T00:00:00Z')]);
    assert.match(summary.fingerprint, /^[0-9a-f]{64}$/);
  });
});

suite('encryption', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  const short = generateKeyPairSync('rsa', { modulusLength: 1_024 });
  const curve = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const other = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  const enc = 'A256GCM';

  test('takes a public key that fits its algorithm', () => {
    assert.equal(encryptionFault({ key: { ...rsa.publicKey.export({ format: 'jwk' }), kid: '2026' }, alg: 'RSA-OAEP-256', enc }), null);
    assert.equal(encryptionFault({ key: curve.publicKey.export({ format: 'jwk' }), alg: 'ECDH-ES+A256KW', enc }), null);
  });

  test('refuses private keys, weak ones, and what does not fit', () => {
    const jwk = rsa.publicKey.export({ format: 'jwk' });
    const point = curve.publicKey.export({ format: 'jwk' });
    assert.match(encryptionFault({ key: rsa.privateKey.export({ format: 'jwk' }), alg: 'RSA-OAEP-256', enc })!, /private/);
    assert.match(encryptionFault({ key: { kty: 'oct', k: 'AAAA' }, alg: 'RSA-OAEP-256', enc })!, /private/);
    assert.match(encryptionFault({ key: short.publicKey.export({ format: 'jwk' }), alg: 'RSA-OAEP-256', enc })!, /2048/);
    assert.match(encryptionFault({ key: point, alg: 'RSA-OAEP-256', enc })!, /RSA/);
    assert.match(encryptionFault({ key: jwk, alg: 'ECDH-ES+A256KW', enc })!, /curves/);
    assert.match(encryptionFault({ key: other.publicKey.export({ format: 'jwk' }), alg: 'ECDH-ES+A256KW', enc })!, /curves/);
    assert.match(encryptionFault({ key: { kty: 'RSA' }, alg: 'RSA-OAEP-256', enc })!, /cannot be read/);
    assert.match(encryptionFault({ key: { ...point, x: 'AAAA' }, alg: 'ECDH-ES+A256KW', enc })!, /cannot be read/);
    assert.match(encryptionFault({ key: { ...jwk, kid: 'x'.repeat(201) }, alg: 'RSA-OAEP-256', enc })!, /kid/);
    assert.match(encryptionFault({ key: jwk, alg: 'dir' as never, enc })!, /alg/);
    assert.match(encryptionFault({ key: jwk, alg: 'RSA-OAEP-256', enc: 'A128CBC-HS256' as never })!, /enc/);
  });
});
