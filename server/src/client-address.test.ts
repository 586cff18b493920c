import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClientAddress } from './client-address.ts';

test('without trusted proxies the peer is the caller, whatever it claims', () => {
  assert.equal(createClientAddress([])('203.0.113.9', '198.51.100.1'), '203.0.113.9');
});

test('trusted proxies are walked from our end; the first address that is none of them is the caller', () => {
  const caller = createClientAddress(['10.0.0.0/8', 'fd00::/8']);
  assert.equal(caller('10.0.0.1', '6.6.6.6, 198.51.100.1, 10.2.0.1'), '198.51.100.1');
  assert.equal(caller('::ffff:10.0.0.1', '198.51.100.1'), '198.51.100.1');
  assert.equal(caller('fd00::1', '2001:db8::5'), '2001:db8::5');
  assert.equal(caller('192.0.2.1', '198.51.100.1'), '192.0.2.1');
});

test('what is no address was made up before the proxy', () => {
  const caller = createClientAddress(['10.0.0.0/8']);
  assert.equal(caller('10.0.0.1', 'nonsense'), '10.0.0.1');
  assert.equal(caller('10.0.0.1', undefined), '10.0.0.1');
});
