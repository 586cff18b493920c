import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../base/clock.ts';
import type { Storage } from '../storage/storage.ts';
import { AHEAD_MAX_MS, createSteadiness, JUMP_MIN_MS, STEADY_AFTER_MS } from './steadiness.ts';

const START = Date.UTC(2026, 2, 2, 8);

/** A process; its clock begins at `wall`. */
function drive(storage: Storage, wall = START) {
  let monotonic = 7_000;
  const steadiness = createSteadiness({ storage, clock: { now: () => wall }, monotonicMs: () => monotonic });
  return {
    look: () => steadiness.look(),
    now: () => wall,
    set(ms: number) {
      wall += ms;
    },
    /** Both clocks go on; answers what a look each five minutes says at the end. */
    async pass(ms: number, wallRate = 1) {
      let last = await steadiness.look();
      for (let passed = 0; passed < ms; passed += 5 * MINUTE_MS) {
        wall += 5 * MINUTE_MS * wallRate;
        monotonic += 5 * MINUTE_MS;
        last = await steadiness.look();
      }
      return last;
    },
  };
}

eachEngine('the wall clock', (open) => {
  test('is believed as it was an hour ago, when it has gone on steadily since', async (t) => {
    const clock = drive(await open(t));
    assert.equal((await clock.pass(55 * MINUTE_MS)).believed, null);
    assert.deepEqual(await clock.pass(5 * MINUTE_MS), { believed: START, plausible: true, jumpedMs: null });
    const { believed } = await clock.pass(DAY_MS);
    assert.equal(believed, START + DAY_MS);
  });

  test('that jumps forward is told of once, and believed an hour later', async (t) => {
    const clock = drive(await open(t));
    await clock.pass(HOUR_MS);
    clock.set(20 * DAY_MS);
    assert.deepEqual(await clock.look(), { believed: START, plausible: false, jumpedMs: 20 * DAY_MS });
    assert.deepEqual(await clock.look(), { believed: START, plausible: false, jumpedMs: null });
    assert.equal((await clock.pass(55 * MINUTE_MS)).believed, START);
    const later = await clock.pass(5 * MINUTE_MS);
    assert.deepEqual(later, { believed: START + HOUR_MS + 20 * DAY_MS, plausible: true, jumpedMs: null });
  });

  test('that jumps again within the hour is believed neither time', async (t) => {
    const clock = drive(await open(t));
    await clock.pass(HOUR_MS);
    for (const days of [100, 200]) {
      clock.set(days * DAY_MS);
      assert.equal((await clock.pass(30 * MINUTE_MS)).believed, START);
    }
  });

  test('that is set back, a little ahead, or goes a little fast is taken as it is', async (t) => {
    const clock = drive(await open(t));
    await clock.pass(2 * HOUR_MS);
    clock.set(JUMP_MIN_MS);
    assert.equal((await clock.look()).jumpedMs, null);
    assert.equal((await clock.pass(DAY_MS, 1.1)).jumpedMs, null);
    clock.set(-40 * DAY_MS);
    const back = await clock.look();
    assert.equal(back.believed, clock.now(), 'nothing is older than the clock says');
    assert.ok(back.plausible);
  });

  test('of an earlier run is believed by the next, and what it says then is not', async (t) => {
    const storage = await open(t);
    await drive(storage).pass(20 * MINUTE_MS);
    const next = drive(storage, START + DAY_MS);
    assert.deepEqual(await next.pass(20 * MINUTE_MS), { believed: START, plausible: true, jumpedMs: null });
    const ahead = drive(storage, START + DAY_MS + AHEAD_MAX_MS);
    assert.deepEqual(await ahead.look(), { believed: START + DAY_MS, plausible: true, jumpedMs: null });
    const again = drive(storage, START + DAY_MS + AHEAD_MAX_MS + 10 * MINUTE_MS);
    assert.deepEqual(await again.look(), { believed: START + DAY_MS, plausible: false, jumpedMs: null });
    const right = drive(storage, START + 2 * DAY_MS);
    assert.deepEqual(await right.pass(STEADY_AFTER_MS), { believed: START + 2 * DAY_MS, plausible: true, jumpedMs: null });
  });

  test('of one server that is ahead is never believed beside others', async (t) => {
    const storage = await open(t);
    const [right, ahead] = [drive(storage), drive(storage, START + 365 * DAY_MS)];
    for (let hours = 0; hours < 12; hours += 1) {
      for (const clock of [right, ahead]) await clock.pass(55 * MINUTE_MS);
      for (const clock of [right, ahead]) {
        const { believed } = await clock.look();
        assert.ok(believed === null || believed <= START + DAY_MS, `after ${hours} hours`);
      }
    }
  });
});
