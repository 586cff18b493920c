import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at, momentAt } from './calendar.ts';

const HOUR_MS = 3_600_000;
/** The last year that the world's table of time zones has by its past, and one by its rule. */
const YEARS = [2025, 2040];

test("the bank's hour is that of the table of time zones, at each hour of a year", () => {
  const paris = new Intl.DateTimeFormat('en-GB', {
    timeZone: 'Europe/Paris',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
  });
  const read = (nowMs: number) => {
    const parts = Object.fromEntries(paris.formatToParts(nowMs).map(({ type, value }) => [type, Number(value)]));
    return at(Date.UTC(parts.year!, parts.month! - 1, parts.day) / (24 * HOUR_MS), parts.hour!);
  };
  for (const year of YEARS) {
    for (let now = Date.UTC(year, 0, 1); now < Date.UTC(year + 1, 0, 1); now += HOUR_MS) {
      // The last instant of an hour belongs to it.
      for (const instant of [now, now + HOUR_MS - 1]) assert.equal(momentAt(instant), read(instant), new Date(instant).toISOString());
    }
  }
});
