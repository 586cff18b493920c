import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../base/clock.ts';
import { createSteadiness, JUMP_MIN_MS } from './steadiness.ts';

function drive() {
  let wall = Date.UTC(2026, 2, 2, 8);
  let monotonic = 7_000;
  const steadiness = createSteadiness({ clock: { now: () => wall }, monotonicMs: () => monotonic });
  return {
    look: () => steadiness.look(),
    set(ms: number) {
      wall += ms;
    },
    /** Both clocks go on; answers what a look each five minutes says at the end. */
    pass(ms: number, wallRate = 1) {
      let last = steadiness.look();
      for (let passed = 0; passed < ms; passed += 5 * MINUTE_MS) {
        wall += 5 * MINUTE_MS * wallRate;
        monotonic += 5 * MINUTE_MS;
        last = steadiness.look();
      }
      return last;
    },
  };
}

suite('the wall clock', () => {
  test('is believed after an hour in which it went on with the monotonic one', () => {
    const clock = drive();
    assert.equal(clock.pass(55 * MINUTE_MS).steady, false);
    assert.equal(clock.pass(5 * MINUTE_MS).steady, true);
  });

  test('that jumps forward is told of once, and believed again an hour later', () => {
    const clock = drive();
    clock.pass(HOUR_MS);
    clock.set(40 * DAY_MS);
    assert.deepEqual(clock.look(), { steady: false, jumpedMs: 40 * DAY_MS });
    assert.deepEqual(clock.look(), { steady: false, jumpedMs: null });
    assert.equal(clock.pass(55 * MINUTE_MS).steady, false);
    assert.equal(clock.pass(5 * MINUTE_MS).steady, true);
  });

  test('that is set back, a little ahead, or goes a little fast is believed all the time', () => {
    const clock = drive();
    clock.pass(HOUR_MS);
    clock.set(-40 * DAY_MS);
    assert.deepEqual(clock.look(), { steady: true, jumpedMs: null });
    clock.set(JUMP_MIN_MS);
    assert.deepEqual(clock.look(), { steady: true, jumpedMs: null });
    assert.equal(clock.pass(DAY_MS, 1.1).steady, true);
  });

  test('that is set right after it was wrong has jumped, too', () => {
    const clock = drive();
    clock.pass(HOUR_MS);
    clock.set(-DAY_MS);
    clock.look();
    clock.set(DAY_MS);
    assert.equal(clock.look().steady, false);
  });
});
