import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkAddress, parseRange } from './addresses.ts';
import { checkUrl } from './guard.ts';

const STRICT = { allowLoopback: false, allowedRanges: [] };
const DEVELOPMENT = { allowLoopback: true, allowedRanges: [] };

test('special-purpose addresses are refused in every form', () => {
  const refused = [
    ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '127.255.255.254', '169.254.169.254', '172.16.0.1', '172.31.255.255'],
    ...[
      '192.0.0.8',
      '192.0.2.1',
      '192.88.99.1',
      '192.168.1.1',
      '198.18.0.1',
      '198.51.100.7',
      '203.0.113.9',
      '224.0.0.1',
      '255.255.255.255',
    ],
    ...[
      '::',
      '::1',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '::ffff:10.0.0.1',
      '::127.0.0.1',
      '64:ff9b::127.0.0.1',
      '64:ff9b::a00:1',
      '64:ff9b:1::1',
    ],
    ...[
      '100::1',
      '2001::1',
      '2001:db8::1',
      '2002:7f00:1::',
      '2002:a00:1::1',
      '3fff::1',
      '5f00::1',
      'fc00::1',
      'fd12::1',
      'fe80::1',
      'fe80::1%eth0',
      'ff02::1',
    ],
    ...['', 'localhost', '1.2.3', '01.2.3.4'],
  ];
  for (const address of refused) assert.equal(checkAddress(address, STRICT), false, address);
});

test('public addresses are allowed, also where IPv6 carries them', () => {
  const allowed = [
    '1.1.1.1',
    '8.8.8.8',
    '172.15.0.1',
    '172.32.0.1',
    '2606:4700::1',
    '2a00:1450::5',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '2002:808:808::1',
  ];
  for (const address of allowed) assert.equal(checkAddress(address, STRICT), true, address);
});

test('the operator can allow ranges, and development allows loopback and no more', () => {
  const policy = { allowLoopback: false, allowedRanges: ['10.20.0.0/16', 'fd00:1::/32'] };
  assert.equal(checkAddress('10.20.3.4', policy), true);
  assert.equal(checkAddress('::ffff:10.20.3.4', policy), true);
  assert.equal(checkAddress('10.21.0.1', policy), false);
  assert.equal(checkAddress('fd00:1::5', policy), true);
  for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'])
    assert.equal(checkAddress(address, DEVELOPMENT), true, address);
  for (const address of ['10.0.0.1', '169.254.169.254', '0.0.0.0', '::']) assert.equal(checkAddress(address, DEVELOPMENT), false, address);
});

test('ranges are CIDR', () => {
  assert.deepEqual(parseRange('10.0.0.0/8'), { address: '10.0.0.0', prefix: 8, family: 'ipv4' });
  assert.deepEqual(parseRange(' ::1 '), { address: '::1', prefix: 128, family: 'ipv6' });
  for (const text of ['10.0.0.0/33', '10.0.0/8', 'example.com', '10.0.0.0/', '10.0.0.0/8/8', ''])
    assert.equal(parseRange(text), null, text);
});

test('a URL is refused with a sentence', () => {
  const refused = [
    ...[
      'ftp://example.com/',
      'javascript:alert(1)',
      'example.com/hooks',
      'http://',
      'https://user:pass@example.com/',
      'https://user@example.com/',
    ],
    ...['https://example.com/#part', 'https://example.com/#', 'https://example.com:0/', `https://example.com/${'x'.repeat(2_000)}`],
    ...[
      'http://127.0.0.1/',
      'http://0x7f.1/',
      'http://2130706433/',
      'http://127.1/',
      'http://0177.0.0.1/',
      'http://[::1]/',
      'http://[::ffff:127.0.0.1]/',
    ],
    ...[
      'http://localhost/',
      'http://LOCALHOST./',
      'http://a.localhost/',
      'http://169.254.169.254/latest',
      'http://①②⑦.0.0.1/',
      'http://10.0.0.1:8080/',
    ],
  ];
  for (const url of refused) {
    const result = checkUrl(url, STRICT);
    assert.ok(!result.ok && result.sentence.length > 10, url);
  }
  for (const url of ['https://example.com/hooks?x=1', 'http://example.com:8080/', 'https://8.8.8.8/'])
    assert.equal(checkUrl(url, STRICT).ok, true, url);
  for (const url of ['http://localhost:3000/', 'http://127.0.0.1:1/', 'http://[::1]:3000/'])
    assert.equal(checkUrl(url, DEVELOPMENT).ok, true, url);
});
