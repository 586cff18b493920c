import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRateLimit } from './limits.ts';

test('a window lets its count through, then says how long to wait, then begins anew', () => {
  let now = 0;
  const limit = createRateLimit({ count: 2, windowMs: 10_000 }, { now: () => now });
  limit.take('a');
  now = 4_000;
  limit.take('a');
  assert.throws(() => limit.take('a'), { type: 'too_many_requests', headers: { 'Retry-After': '6' } });
  limit.take('b');
  now = 10_000;
  limit.take('a');
});

test('memory is bounded: the oldest window is forgotten', () => {
  const limit = createRateLimit({ count: 1, windowMs: 10_000 }, { now: () => 0 }, 2);
  for (const key of ['a', 'b', 'c', 'a']) limit.take(key);
  assert.throws(() => limit.take('c'));
});
