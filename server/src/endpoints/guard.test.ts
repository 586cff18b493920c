import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkAddress, checkPort, parsePorts, parseRange } from './addresses.ts';
import { checkUrl, resolvedFault, TARGET_REFUSED } from './guard.ts';

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

test('every range of the IANA special-purpose registries is refused at both its ends, and its neighbours are judged alone', () => {
  // First and last address of each range; the registries as of 2025.
  const ranges: [string, string][] = [
    ['0.0.0.0', '0.255.255.255'],
    ['10.0.0.0', '10.255.255.255'],
    ['100.64.0.0', '100.127.255.255'],
    ['127.0.0.0', '127.255.255.255'],
    ['169.254.0.0', '169.254.255.255'],
    ['172.16.0.0', '172.31.255.255'],
    ['192.0.0.0', '192.0.0.255'],
    ['192.0.2.0', '192.0.2.255'],
    ['192.31.196.0', '192.31.196.255'],
    ['192.52.193.0', '192.52.193.255'],
    ['192.88.99.0', '192.88.99.255'],
    ['192.168.0.0', '192.168.255.255'],
    ['192.175.48.0', '192.175.48.255'],
    ['198.18.0.0', '198.19.255.255'],
    ['198.51.100.0', '198.51.100.255'],
    ['203.0.113.0', '203.0.113.255'],
    ['224.0.0.0', '239.255.255.255'],
    ['240.0.0.0', '255.255.255.255'],
    ['::', '::1'],
    ['::ffff:0.0.0.0', '::ffff:10.0.0.0'],
    ['64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff'],
    ['100::', '100:0:0:1:ffff:ffff:ffff:ffff'],
    ['2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['2620:4f:8000::', '2620:4f:8000:ffff:ffff:ffff:ffff:ffff'],
    ['3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['5f00::', '5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ];
  for (const address of ranges.flat()) {
    assert.equal(checkAddress(address, STRICT), false, address);
    if (!address.includes(':')) {
      for (const form of [`::ffff:${address}`, `64:ff9b::${address}`]) assert.equal(checkAddress(form, STRICT), false, form);
    }
  }
  for (const address of [
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '192.0.1.0',
    '198.17.255.255',
    '223.255.255.255',
    '2001:200::',
    '2620:4f:8001::',
    '3ffe::',
  ])
    assert.equal(checkAddress(address, STRICT), true, address);
});

test('what the operator denies wins over what is allowed, in every form of the address', () => {
  const policy = {
    allowLoopback: true,
    allowedRanges: ['10.0.0.0/8'],
    deniedRanges: ['10.1.0.0/16', '8.8.8.8/32', '127.0.0.0/8', '2606:4700::/32'],
  };
  for (const address of ['10.1.2.3', '8.8.8.8', '::ffff:8.8.8.8', '64:ff9b::808:808', '2002:808:808::1', '127.0.0.1', '2606:4700::1'])
    assert.equal(checkAddress(address, policy), false, address);
  for (const address of ['10.2.0.1', '8.8.4.4', '::1']) assert.equal(checkAddress(address, policy), true, address);
  const translated = { ...STRICT, deniedRanges: ['64:ff9b::/96'] };
  assert.deepEqual([checkAddress('64:ff9b::808:808', translated), checkAddress('8.8.8.8', translated)], [false, true]);
});

test('ports are those of web servers, or those of the operator; on this machine any, in development', () => {
  for (const port of [443, 80, 8443, 8080]) assert.equal(checkPort(port, 'example.com', STRICT), true);
  for (const port of [0, 22, 25, 5432, 6379, 11211, 65_535]) assert.equal(checkPort(port, 'example.com', STRICT), false);
  for (const host of ['localhost', 'a.localhost', 'localhost.', '127.9.9.9', '::1']) {
    assert.equal(checkPort(3_000, host, DEVELOPMENT), true, host);
    assert.equal(checkPort(3_000, host, STRICT), false, host);
  }
  assert.equal(checkPort(3_000, 'localhost.example.com', DEVELOPMENT), false);
  const policy = { ...STRICT, allowedPorts: [parsePorts('443')!, parsePorts('9000-9010')!] };
  assert.deepEqual(
    [443, 80, 8_999, 9_000, 9_010, 9_011].map((port) => checkPort(port, 'example.com', policy)),
    [true, false, false, true, true, false],
  );
  assert.deepEqual(checkUrl('http://example.com/', policy), { ok: false, sentence: TARGET_REFUSED });
  assert.equal(checkUrl('https://example.com:9005/', policy).ok, true);
});

test('an address is known in every spelling that a URL may have', () => {
  const loopback = [
    ...['127.0.0.1', '127.1', '127.0.1', '2130706433', '0x7f000001', '0x7F.0.0.1', '0177.0.0.1', '017700000001', '127.0.0.1.', '127.1.'],
    ...['%31%32%37.0.0.1', '１２７.０.０.１', '127。0。0。1', '①②⑦.0.0.1', '127.0.0.1%2e', '127.0.0.\u00ad1'],
    ...['[::1]', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::127.0.0.1]', '[64:ff9b::127.0.0.1]', '[2002:7f00:1::]'],
    ...['localhost', 'LOCALHOST', 'localhost.', 'ｌｏｃａｌｈｏｓｔ', 'loca\u00adlhost', 'ⓛocalhost', 'x.localhost'],
  ];
  for (const host of loopback) assert.equal(checkUrl(`http://${host}/`, STRICT).ok, false, host);
  const broken = [
    '[fe80::1%25eth0]',
    '[::1',
    '127.0.0.256',
    '0x100000000',
    '1.2.3.4.5',
    'a..b',
    '..',
    'localhost..',
    '.localhost',
    'exa mple.com',
    'exa\nmple.com',
    'exa\tmple.com',
    'example.com\\@127.0.0.1',
    'example.com%00',

    '%',
  ];
  for (const host of broken) {
    const result = checkUrl(`http://${host}/`, STRICT);
    assert.ok(!result.ok && result.sentence !== TARGET_REFUSED, host);
  }
  for (const url of [
    'http://example.com\r\nx: y/',
    'http://example.com/\r\nx: y',
    ' https://example.com/',
    'https:\\\\example.com\\',
    'https://example.com/\u0000',
  ])
    assert.equal(checkUrl(url, STRICT).ok, false, JSON.stringify(url));
  for (const host of ['example.com.', 'xn--bcher-kva.example', 'bücher.example', 'a_b.example.com', '127.0.0.1.example.com'])
    assert.equal(checkUrl(`https://${host}/`, STRICT).ok, true, host);
});

test('a name is refused for where it leads when its webhook is made; one that cannot be looked up is not', async () => {
  const leadsTo = (...list: string[]) =>
    resolvedFault('https://name.example/', STRICT, async () => list.map((address) => ({ address, family: 4 })));
  assert.equal(await leadsTo('8.8.8.8', '1.1.1.1'), null);
  assert.equal(await leadsTo('8.8.8.8', '10.0.0.1'), TARGET_REFUSED);
  assert.equal(await leadsTo('::1'), TARGET_REFUSED);
  const failing = async () => {
    throw new Error('ENOTFOUND');
  };
  assert.equal(await resolvedFault('https://name.example/', STRICT, failing), null);
  assert.equal(await resolvedFault('https://8.8.8.8/', STRICT, failing), null);
});
