import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXAMPLE_SECRET_KEY, type Mode, readConfig, secretKeyFault } from './config.ts';

const KEY = 'Zt1c9mB0qkVxX3yQ8n5rLw2sHd7uJfGa';

function read(environment: Record<string, string>, mode: Mode = 'development') {
  const result = readConfig(environment, mode);
  assert.ok(result.ok, result.ok ? '' : result.problems.join('\n'));
  return result.config;
}

function problems(environment: Record<string, string>, mode: Mode = 'development'): string[] {
  const result = readConfig(environment, mode);
  assert.ok(!result.ok, 'it was accepted');
  return result.problems;
}

test('development needs nothing, and listens on this machine alone', () => {
  const config = read({});
  assert.equal(config.port, 4280);
  assert.equal(config.host, '127.0.0.1');
  assert.equal(config.databaseUrl, null);
  assert.match(config.dataDir, /\.pontage$/);
});

test('production asks for the key and the public address, both at once', () => {
  const found = problems({}, 'production');
  assert.equal(found.length, 2);
  assert.match(found.join('\n'), /PONTAGE_SECRET_KEY is not set.*openssl[\s\S]*PONTAGE_PUBLIC_URL is not set/);
  const config = read({ PONTAGE_SECRET_KEY: KEY, PONTAGE_PUBLIC_URL: 'https://banks.example.com/' }, 'production');
  assert.equal(config.host, '0.0.0.0');
  assert.equal(config.publicUrl, 'https://banks.example.com');
});

test('every problem is told at once, each with its variable', () => {
  const found = problems({
    PONTAGE_PORT: 'http',
    PONTAGE_LOG_LEVEL: 'loud',
    PONTAGE_TRUSTED_PROXIES: '10.0.0.0/99',
    DATABASE_URL: 'mysql://x',
  });
  assert.deepEqual(found.map((problem) => problem.split(':')[0]).sort(), [
    'DATABASE_URL',
    'PONTAGE_LOG_LEVEL',
    'PONTAGE_PORT',
    'PONTAGE_TRUSTED_PROXIES',
  ]);
});

test('targets of webhooks: ranges, ports and the way out', () => {
  const plain = read({});
  assert.deepEqual([plain.deniedTargets, plain.allowedPorts, plain.egressProxy], [[], null, null]);
  const set = {
    PONTAGE_DENIED_TARGETS: '8.8.8.0/24',
    PONTAGE_ALLOWED_PORTS: '443, 9000-9010',
    PONTAGE_EGRESS_PROXY: 'http://u:p@proxy.internal:3128',
  };
  const config = read(set);
  assert.deepEqual(config.deniedTargets, ['8.8.8.0/24']);
  assert.deepEqual(config.allowedPorts, [
    [443, 443],
    [9_000, 9_010],
  ]);
  assert.equal(config.egressProxy, 'http://u:p@proxy.internal:3128');
  for (const port of ['0', '65536', '90-80', 'https', '1-2-3'])
    assert.match(problems({ PONTAGE_ALLOWED_PORTS: port })[0]!, /no port/, port);
  for (const proxy of ['proxy:3128', 'https://proxy/', 'socks5://proxy:1', 'http://proxy/path'])
    assert.match(problems({ PONTAGE_EGRESS_PROXY: proxy })[0]!, /address of the proxy/, proxy);
});

test('a misspelt variable is an error with the one that was meant; those of the tests are not', () => {
  assert.deepEqual(problems({ PONTAGE_PROT: '1' }), ['PONTAGE_PROT is not a variable of Pontage: did you mean PONTAGE_PORT?']);
  assert.deepEqual(problems({ PONTAGE_SOMETHING_ELSE: '1' }), ['PONTAGE_SOMETHING_ELSE is not a variable of Pontage: remove it']);
  read({ PONTAGE_TEST_ANYTHING: '1' });
});

test('events are kept for 30 days, or as many whole days as the operator says', () => {
  assert.equal(read({}).retentionDays, 30);
  assert.equal(read({ PONTAGE_RETENTION_DAYS: '7' }).retentionDays, 7);
  for (const text of ['0', '-1', '1.5', 'long']) assert.match(problems({ PONTAGE_RETENTION_DAYS: text }).join(), /how many days/);
});

test('the records of refreshes are kept for 400 days, or as the operator says, and never less long than events', () => {
  assert.equal(read({}).historyDays, 400);
  assert.equal(read({ PONTAGE_HISTORY_DAYS: '90' }).historyDays, 90);
  assert.equal(read({ PONTAGE_RETENTION_DAYS: '1000' }).historyDays, 1_000);
  assert.match(problems({ PONTAGE_HISTORY_DAYS: '89' }).join(), /at least 90/);
  assert.match(problems({ PONTAGE_HISTORY_DAYS: '200', PONTAGE_RETENTION_DAYS: '300' }).join(), /at least 300/);
  assert.match(problems({ PONTAGE_HISTORY_DAYS: '1.5' }).join(), /how many days/);
});

test('a variable that is set to nothing is not set', () => {
  assert.equal(read({ PONTAGE_PORT: '', DATABASE_URL: ' ' }).port, 4280);
});

test('several keys: the first wraps, the others unwrap', () => {
  assert.deepEqual(read({ PONTAGE_SECRET_KEY: `${KEY}, ${KEY.toLowerCase()}x` }).secretKeys, [KEY, `${KEY.toLowerCase()}x`]);
});

test('keys that can be known or guessed are refused, and never repeated', () => {
  const weak = [EXAMPLE_SECRET_KEY, 'short', 'a'.repeat(64), '0123456789abcdef0123456789abcdef', 'abcdefghijklmnopqrstuvwxyz012345'];
  for (const key of weak) {
    const fault = secretKeyFault(key);
    assert.ok(fault !== null, key);
    assert.ok(!fault.includes(key));
  }
  assert.equal(secretKeyFault(KEY), null);
  assert.equal(secretKeyFault('9f8a1c02d4e6b7355a0c6e1f2b3d4a59'), null);
});
