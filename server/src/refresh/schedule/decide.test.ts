/** What the scheduler decides, for any item and any history. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../base/clock.ts';
import { DEFAULT_BANDS } from '../../connectors/access.ts';
import type { StatusCode } from '../../connectors/connector.ts';
import { BACK_OFF_MS, RETRY_GAP_MIN_MS, retryAt } from './back-off.ts';
import { consentNotice, decideAfter, decideAsking, decideAtDue } from './decide.ts';
import { type Asker, EMPTY_LEDGER, SCOPES, spend } from './ledger.ts';
import { readState, type ScheduleState, writeState } from './state.ts';
import { ENDED, FRESH, inBand, items, KNOWN, MONDAY, moments, RULES, spentOn } from './testing.ts';

test('what is remembered is read as it was written, and nothing is written as nothing', () => {
  for (const someFailed of [null, { times: 2, slot: null }, { times: 3, slot: MONDAY }]) {
    const state: ScheduleState = { ...FRESH, failures: 3, someFailed, patientUntil: MONDAY + 1, refused: 'abc' };
    assert.deepEqual(readState(writeState(state)), state);
  }
  assert.equal(writeState(FRESH), '{}');
});

test('a retry comes within its step, never at once, and not before the bank wishes', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.double({ min: 0, max: 1, noNaN: true }), (failures, chance) => {
      const step = BACK_OFF_MS[Math.min(failures, 5) - 1]!;
      const at = retryAt(failures, null, chance, MONDAY) - MONDAY;
      assert.ok(at >= RETRY_GAP_MIN_MS && at <= step);
      assert.ok(retryAt(failures, 2 * HOUR_MS, chance, MONDAY) - MONDAY >= 2 * HOUR_MS);
    }),
  );
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map((failures) => (retryAt(failures, null, 1, 0) - 0) / MINUTE_MS),
    [15, 60, 240, 720, 1440, 1440],
  );
});

const endings = fc.record({
  status: fc.constantFrom<StatusCode>(0, 1003, 1007, 1005, 1009, 1099),
  asker: fc.constantFrom<Asker>('scheduler', 'scheduler', 'scheduler', 'request', 'user'),
});

test('no item starves and none is hurried, whatever its refreshes end with: the next one is due within a day or a week', () => {
  fc.assert(
    fc.property(items, fc.array(endings, { minLength: 1, maxLength: 40 }), moments, (itemId, history, start) => {
      let state = FRESH;
      let now = start;
      const unattended: number[] = [];
      for (const { status, asker } of history) {
        const known = { ...KNOWN, itemId, state, now };
        if (asker === 'scheduler') unattended.push(now);
        const after = decideAfter(known, { ...ENDED, asker, status, spent: spentOn('one   ') });
        state = after.state;
        const dueAt = after.dueAt!;
        const mends = status === 1003 || status === 1007;
        assert.ok(dueAt > now && dueAt <= now + (status === 1005 ? 9 : 2) * DAY_MS, `${status} due after ${(dueAt - now) / HOUR_MS} h`);
        if (!mends) assert.ok(dueAt - now >= RULES.minGapMs);
        now = dueAt;
      }
      for (const end of unattended) {
        assert.ok(unattended.filter((at) => at > end - DAY_MS && at <= end).length <= 3 + RULES.loginsPerDay!);
      }
    }),
  );
});

test('an item that is well is refreshed twice a day, every day of a year', () => {
  for (const itemId of [1, 4_568_477, 4_568_565]) {
    let state = FRESH;
    let now = MONDAY;
    const made: number[] = [];
    while (now < MONDAY + 365 * DAY_MS) {
      const known = { ...KNOWN, itemId, state, now };
      assert.equal(decideAtDue(known, 0).kind, 'refresh');
      const after = decideAfter(known, { ...ENDED, spent: spentOn('one   ', 'two   ') });
      state = after.state;
      made.push(now);
      now = after.dueAt!;
    }
    // The first, at midnight, is not of the scheduler's choosing.
    assert.ok(made.length - 1 >= 729 && made.length - 1 <= 731, `${made.length}`);
    for (const moment of made.slice(1)) assert.ok(DEFAULT_BANDS.some((band) => inBand(moment, band)));
  }
});

test('what only the user can mend is never asked again by itself; a renewal left half way keeps the consent that runs', () => {
  const known = { ...KNOWN, consentExpiresAt: MONDAY + 9 * DAY_MS };
  const ended = { ...ENDED, spent: null, fingerprint: 'f' };
  for (const status of [402, 429, 1010, 1100] as const) assert.equal(decideAfter(known, { ...ended, status }).dueAt, null);
  assert.notEqual(decideAfter(known, { ...ended, asker: 'user', status: 1010 }).dueAt, null);
  assert.equal(decideAfter({ ...known, consentExpiresAt: null }, { ...ended, asker: 'user', status: 1010 }).dueAt, null);
  assert.equal(decideAfter(known, { ...ended, connectedOnce: false }).dueAt, null);
});

test('credentials that were refused are kept from the bank until they change or the user comes', () => {
  const { state } = decideAfter(KNOWN, { ...ENDED, asker: 'request', status: 402, fingerprint: 'old' });
  const later = { ...KNOWN, state, now: MONDAY + DAY_MS };
  assert.deepEqual(decideAsking(later, 'request', [], 'old'), { kind: 'spare', status: 402, info: null, until: null });
  assert.equal(decideAsking(later, 'request', [], 'new').kind, 'ask');
  assert.equal(decideAsking(later, 'user', [], 'old').kind, 'ask');
});

test('without its user an item logs in only so often in 24 hours', () => {
  let state = FRESH;
  const at = (now: number) => ({ ...KNOWN, state, now });
  for (let login = 0; login < RULES.loginsPerDay!; login += 1) {
    assert.equal(decideAsking(at(MONDAY + login), 'request', [], null).kind, 'ask');
    state = decideAfter(at(MONDAY + login), { ...ENDED, asker: 'request', status: 1003 }).state;
  }
  const spared = decideAsking(at(MONDAY + HOUR_MS), 'request', [], null);
  assert.deepEqual(spared, { kind: 'spare', status: 1007, info: null, until: MONDAY + DAY_MS });
  assert.equal(decideAsking(at(MONDAY + HOUR_MS), 'user', [], null).kind, 'ask');
  assert.equal(decideAsking(at(MONDAY + DAY_MS), 'request', [], null).kind, 'ask');
});

test('what is left of a quota is asked for; only where nothing is left the bank is spared', () => {
  let ledger = EMPTY_LEDGER;
  for (let call = 0; call < 4; call += 1) {
    ledger = spend(ledger, RULES, 'request', { logins: 1, accounts: ['spent '], scopes: SCOPES }, MONDAY + call);
  }
  const known = { ...KNOWN, state: { ...FRESH, ledger }, now: MONDAY + HOUR_MS };
  const asking = decideAsking(known, 'request', ['spent ', 'free  '], null);
  assert.ok(asking.kind === 'ask' && asking.sparedFor('free  ') === null && asking.sparedFor('spent ') === 'quota');
  const spared = decideAsking(known, 'request', ['spent '], null);
  // The scheduler, which comes next, has three of four: free when two of the four have left the window.
  assert.deepEqual(spared, { kind: 'spare', status: 1007, info: null, until: MONDAY + 1 + DAY_MS });
  assert.equal(decideAsking(known, 'user', ['spent '], null).kind, 'ask');
  assert.deepEqual(decideAtDue(known, 0), { kind: 'postpone', until: MONDAY + 1 + DAY_MS });
});

test('a consent that has ended changes the status without a call; its notices come at 14, 7 and 1 days', () => {
  const expires = MONDAY + 20 * DAY_MS;
  const known = { ...KNOWN, consentExpiresAt: expires };
  assert.deepEqual(decideAtDue({ ...known, now: expires }, 0), { kind: 'become', status: 1010, info: 'OTP_REQUIRED', until: null });
  assert.equal(decideAtDue({ ...known, now: expires - 1 }, 0).kind, 'refresh');
  assert.equal(decideAsking({ ...known, now: expires }, 'request', [], null).kind, 'spare');
  assert.deepEqual(
    [15, 14, 8, 7, 2, 1, 0].map((days) => consentNotice(expires, expires - days * DAY_MS)),
    [null, 14, 14, 7, 7, 1, null],
  );
  const after = decideAfter({ ...known, now: expires - HOUR_MS }, { ...ENDED, spent: null });
  assert.equal(after.dueAt, expires);
});
