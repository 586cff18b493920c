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

test('a misspelt variable is an error with the one that was meant; those of the tests are not', () => {
  assert.deepEqual(problems({ PONTAGE_PROT: '1' }), ['PONTAGE_PROT is not a variable of Pontage: did you mean PONTAGE_PORT?']);
  assert.deepEqual(problems({ PONTAGE_SOMETHING_ELSE: '1' }), ['PONTAGE_SOMETHING_ELSE is not a variable of Pontage: remove it']);
  read({ PONTAGE_TEST_ANYTHING: '1' });
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
