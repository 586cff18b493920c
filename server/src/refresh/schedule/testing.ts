/** For tests of the schedule: an item, what a refresh of it ended with, and any item, moment or bands. */
import * as fc from 'fast-check';
import { DAY_MS, MINUTE_MS } from '../../base/clock.ts';
import { type Band, DEFAULT_ACCESS, DEFAULT_BANDS } from '../../connectors/access.ts';
import type { Ended } from './decide.ts';
import { EMPTY_LEDGER, SCOPES } from './ledger.ts';
import type { Rules } from './rules.ts';
import type { ScheduleState } from './state.ts';

export const MONDAY = Date.UTC(2026, 2, 2);
export const RULES: Rules = { ...DEFAULT_ACCESS, bands: DEFAULT_BANDS, unattended: true };
export const FRESH: ScheduleState = {
  ledger: EMPTY_LEDGER,
  failures: 0,
  someFailed: null,
  patientUntil: null,
  refused: null,
  fullAt: null,
};
/** Of an item that is new, on Monday at midnight. */
export const KNOWN = { itemId: 7, state: FRESH, rules: RULES, consentExpiresAt: null, circuit: null, now: MONDAY };
export const spentOn = (...accounts: string[]) => ({ logins: 1, accounts, scopes: SCOPES });
/** A refresh of the scheduler that ended well, of an item without accounts. */
export const ENDED: Ended = {
  asker: 'scheduler',
  status: 0,
  someFailed: null,
  onlyFailed: false,
  full: false,
  connectedOnce: true,
  spent: spentOn(),
  sparedUntil: null,
  retryAfterMs: null,
  fingerprint: null,
};

export const items = fc.integer({ min: 1, max: 2 ** 40 });
export const moments = fc.integer({ min: MONDAY, max: MONDAY + 400 * DAY_MS });

/** One to four bands that do not overlap. */
export const bandLists: fc.Arbitrary<Band[]> = fc
  .uniqueArray(fc.integer({ min: 0, max: 1440 }), { minLength: 2, maxLength: 8 })
  .map((minutes) => minutes.sort((a, b) => a - b))
  .map((minutes) =>
    Array.from({ length: Math.floor(minutes.length / 2) }, (_, i) => ({ fromMinute: minutes[2 * i]!, toMinute: minutes[2 * i + 1]! })),
  );

export function inBand(moment: number, { fromMinute, toMinute }: Band): boolean {
  const minute = (moment % DAY_MS) / MINUTE_MS;
  return minute >= fromMinute && minute < toMinute;
}
