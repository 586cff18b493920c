/** The laws of slots, for any item and any bands. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DAY_MS, HOUR_MS } from '../../base/clock.ts';
import { DEFAULT_BANDS } from '../../connectors/access.ts';
import { JITTER_MS, nextSlot, slotsOfDay, spreadOverDay } from './slots.ts';
import { bandLists, inBand, items, MONDAY, moments, RULES } from './testing.ts';

test('an item has one slot in each band, every day at nearly the same minute, and never outside', () => {
  fc.assert(
    fc.property(items, bandLists, fc.integer({ min: 0, max: 400 }), (itemId, bands, day) => {
      const rules = { bands, maxUnattendedPerDay: bands.length };
      const today = slotsOfDay(itemId, rules, MONDAY + day * DAY_MS);
      const tomorrow = slotsOfDay(itemId, rules, MONDAY + (day + 1) * DAY_MS);
      assert.equal(today.length, bands.length);
      for (const [index, slot] of today.entries()) {
        assert.ok(inBand(slot, bands[index]!), new Date(slot).toISOString());
        assert.ok(Math.abs(tomorrow[index]! - slot - DAY_MS) <= 2 * JITTER_MS);
      }
    }),
  );
});

test('the two default refreshes of an item are twelve hours apart, give or take the jitter', () => {
  fc.assert(
    fc.property(items, (itemId) => {
      const [morning, evening] = slotsOfDay(itemId, RULES, MONDAY);
      assert.ok(Math.abs(evening! - morning! - 12 * HOUR_MS) <= 2 * JITTER_MS);
    }),
  );
});

test('a bank that allows one refresh a day has each of its items in one band, and both bands are used', () => {
  const rules = { ...RULES, maxUnattendedPerDay: 1 };
  const used = new Set<number>();
  for (let itemId = 1; itemId <= 50; itemId += 1) {
    const slots = slotsOfDay(itemId, rules, MONDAY);
    assert.equal(slots.length, 1);
    used.add(DEFAULT_BANDS.findIndex((band) => inBand(slots[0]!, band)));
  }
  assert.deepEqual([...used].sort(), [0, 1]);
  assert.equal(nextSlot(1, { ...rules, maxUnattendedPerDay: 0 }, MONDAY), null);
});

test('the next slot is never before the moment asked for, and at most a day after it', () => {
  fc.assert(
    fc.property(items, bandLists, moments, (itemId, bands, moment) => {
      const slot = nextSlot(itemId, { bands, maxUnattendedPerDay: bands.length }, moment)!;
      assert.ok(slot >= moment && slot <= moment + DAY_MS + 2 * JITTER_MS);
    }),
  );
});

test('a day of 100,000 items is spread evenly within its bands, and nothing is outside', () => {
  const counts = spreadOverDay(
    Array.from({ length: 100_000 }, (_, index) => 4_000_000 + index),
    RULES,
    MONDAY,
    24,
  );
  const mean = 200_000 / 12;
  for (const [hour, count] of counts.entries()) {
    const inside = DEFAULT_BANDS.some(({ fromMinute, toMinute }) => hour * 60 >= fromMinute && hour * 60 < toMinute);
    if (!inside) assert.equal(count, 0);
    else assert.ok(Math.abs(count - mean) < mean * 0.03, `hour ${hour}: ${count}, mean ${mean}`);
  }
});
