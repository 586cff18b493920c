import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { HOUR_MS } from '../../base/clock.ts';
import { RETRY_AFTER_MAX_MS, retryAfterMs } from './retry-after.ts';

const NOW = Date.UTC(2026, 10, 23, 22, 55, 6);

suite('Retry-After', () => {
  test('seconds, and a date in each of the three forms that a recipient reads', () => {
    assert.equal(retryAfterMs(429, '120', NOW), 120_000);
    assert.equal(retryAfterMs(503, ' 1 ', NOW), 1_000);
    assert.equal(retryAfterMs(503, 'Mon, 23 Nov 2026 22:56:06 GMT', NOW), 60_000);
    assert.equal(retryAfterMs(503, 'Monday, 23-Nov-26 22:56:06 GMT', NOW), 60_000);
    assert.equal(retryAfterMs(503, 'Mon Nov 23 22:56:06 2026', NOW), 60_000);
  });

  test('more than six hours are cut to six', () => {
    assert.equal(retryAfterMs(429, '21601', NOW), RETRY_AFTER_MAX_MS);
    assert.equal(retryAfterMs(429, '999999999999999', NOW), 6 * HOUR_MS);
    assert.equal(retryAfterMs(503, 'Thu, 23 Nov 2028 22:56:06 GMT', NOW), 6 * HOUR_MS);
  });

  test('what is past, unreadable, repeated or of another status is an ordinary failure', () => {
    const invalid = ['0', '-1', '1.5', '1e3', '0x10', '', ' ', 'soon', '2026-11-23T23:00:00Z', 'Mon, 23 Nov 2026 22:54:06 GMT', '1, 2'];
    for (const header of [...invalid, 'Mon, 23 Nov 2026 99:54:06 GMT', '1'.repeat(400)]) {
      assert.equal(retryAfterMs(429, header, NOW), null, header);
    }
    assert.equal(retryAfterMs(429, undefined, NOW), null);
    assert.equal(retryAfterMs(429, ['1', '2'], NOW), null);
    for (const status of [200, 301, 400, 404, 500, 502, 504]) assert.equal(retryAfterMs(status, '10', NOW), null);
  });

  test('whatever it says, it is null or a time that may be waited for', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.nat().map(String),
          fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
        ),
        (header) => {
          const ms = retryAfterMs(503, header, NOW);
          assert.ok(ms === null || (ms >= 1 && ms <= RETRY_AFTER_MAX_MS));
        },
      ),
    );
  });
});
