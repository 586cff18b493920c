/** The laws of the schedule, for any item, any rules and any history. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../base/clock.ts';
import { type Band, DEFAULT_ACCESS, DEFAULT_BANDS } from '../../connectors/access.ts';
import type { StatusCode } from '../../connectors/connector.ts';
import { BACK_OFF_MS, RETRY_GAP_MIN_MS, retryAt } from './back-off.ts';
import { WINDOW_MS as CIRCUIT_WINDOW_MS, ITEMS_MIN, opened, opens, probeFailed } from './circuit.ts';
import { asksOnlyFailed, consentNotice, decideAfter, decideAsking, decideAtDue, possibleAt } from './decide.ts';
import { type Asker, accountKey, callsLeft, EMPTY_LEDGER, type Ledger, readLedger, SCOPES, spend, writeLedger } from './ledger.ts';
import { bandsFault, type Rules, readBands, rulesFor, writeBands } from './rules.ts';
import { JITTER_MS, nextSlot, slotsOfDay, spreadOverDay } from './slots.ts';
import { readState, type ScheduleState, writeState } from './state.ts';

const MONDAY = Date.UTC(2026, 2, 2);
const RULES: Rules = { ...DEFAULT_ACCESS, bands: DEFAULT_BANDS, unattended: true };
const FRESH: ScheduleState = { ledger: EMPTY_LEDGER, failures: 0, someFailed: null, patientUntil: null, refused: null, fullAt: null };
const NONE_FAILED = { someFailed: null, onlyFailed: false };
const items = fc.integer({ min: 1, max: 2 ** 40 });
const moments = fc.integer({ min: MONDAY, max: MONDAY + 400 * DAY_MS });

/** One to four bands that do not overlap. */
const bandLists: fc.Arbitrary<Band[]> = fc
  .uniqueArray(fc.integer({ min: 0, max: 1440 }), { minLength: 2, maxLength: 8 })
  .map((minutes) => minutes.sort((a, b) => a - b))
  .map((minutes) =>
    Array.from({ length: Math.floor(minutes.length / 2) }, (_, i) => ({ fromMinute: minutes[2 * i]!, toMinute: minutes[2 * i + 1]! })),
  );

function inBand(moment: number, { fromMinute, toMinute }: Band): boolean {
  const minute = (moment % DAY_MS) / MINUTE_MS;
  return minute >= fromMinute && minute < toMinute;
}

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

test('bands are read as they were written, and what cannot be used is told', () => {
  fc.assert(fc.property(bandLists, (bands) => assert.deepEqual(readBands(writeBands(bands)), bands)));
  assert.equal(bandsFault(DEFAULT_BANDS), null);
  assert.match(bandsFault([])!, /1 to 8/);
  assert.match(bandsFault([{ fromMinute: 60, toMinute: 60 }])!, /begin before they end/);
  assert.match(bandsFault([{ fromMinute: 0, toMinute: 1441 }])!, /24:00/);
  assert.match(
    bandsFault([
      { fromMinute: 0, toMinute: 120 },
      { fromMinute: 119, toMinute: 200 },
    ])!,
    /overlap/,
  );
});

test("a bank's own rules go before the application's, and files spare no bank", () => {
  const own = [{ fromMinute: 0, toMinute: 60 }];
  const applications = [{ fromMinute: 60, toMinute: 120 }];
  const bank = { unattended: true, input: 'credentials' as const };
  assert.deepEqual(rulesFor({ ...bank, access: { bands: own, callsPerDay: 2 } }, applications).bands, own);
  assert.equal(rulesFor({ ...bank, access: { callsPerDay: 2 } }, applications).callsPerDay, 2);
  assert.deepEqual(rulesFor(bank, applications).bands, applications);
  assert.deepEqual(rulesFor(bank, null).bands, DEFAULT_BANDS);
  assert.equal(rulesFor({ ...bank, input: 'files' }, null).callsPerDay, null);
});

const ACCOUNTS = ['first ', 'second', 'third '];
const asks = fc.record({
  gapMs: fc.integer({ min: 0, max: 8 * HOUR_MS }),
  asker: fc.constantFrom<Asker>('scheduler', 'request', 'completion', 'user'),
  accounts: fc.subarray(ACCOUNTS, { minLength: 1 }),
});

test('no account is ever asked more often than its quota in any 24 hours, whoever asks; the scheduler leaves its part', () => {
  fc.assert(
    fc.property(fc.array(asks, { maxLength: 60 }), fc.boolean(), (history, countsAttended) => {
      const rules = { ...RULES, countsAttended };
      let ledger = EMPTY_LEDGER;
      let now = MONDAY;
      const made: { at: number; asker: Asker; account: string }[] = [];
      for (const { gapMs, asker, accounts } of history) {
        now += gapMs;
        const free = accounts.filter((account) => SCOPES.every((scope) => callsLeft(ledger, rules, asker, account, scope, now) !== 0));
        ledger = spend(ledger, rules, asker, { logins: 1, accounts: free, scopes: SCOPES }, now);
        for (const account of free) if (asker !== 'user' || countsAttended) made.push({ at: now, asker, account });
      }
      for (const { at: end, account } of made) {
        const window = made.filter((call) => call.account === account && call.at > end - DAY_MS && call.at <= end);
        assert.ok(window.length <= 4, `${window.length} calls in 24 h`);
        const beforeIt = window.filter((call) => call.at < end || call === window.at(-1));
        if (window.at(-1)?.asker === 'scheduler') assert.ok(beforeIt.length <= 3, 'the scheduler took the last one');
      }
    }),
    { numRuns: 300 },
  );
});

test('a ledger is read as it was written, and forgets after exactly 24 hours', () => {
  fc.assert(
    fc.property(fc.array(asks, { maxLength: 20 }), (history) => {
      let ledger: Ledger = EMPTY_LEDGER;
      let now = MONDAY;
      for (const { gapMs, asker, accounts } of history) {
        now += gapMs;
        ledger = spend(ledger, RULES, asker, { logins: 1, accounts: accounts.slice(0, 2), scopes: ['balances'] }, now);
      }
      assert.deepEqual(readLedger(JSON.parse(JSON.stringify(writeLedger(ledger)))), ledger);
      assert.deepEqual(spend(ledger, RULES, 'user', { logins: 0, accounts: [], scopes: SCOPES }, now + DAY_MS), EMPTY_LEDGER);
    }),
  );
  for (const someFailed of [null, { times: 2, slot: null }, { times: 3, slot: MONDAY }]) {
    const state: ScheduleState = { ...FRESH, failures: 3, someFailed, patientUntil: MONDAY + 1, refused: 'abc' };
    assert.deepEqual(readState(writeState(state)), state);
  }
  assert.equal(writeState(FRESH), '{}');
});

test('an account keeps its name in the ledger as long as the bank keeps its identity', () => {
  const account = { identity: 'FR76…', type: 'checking', currency: 'EUR', name: 'Compte' };
  assert.equal(accountKey(account), accountKey({ ...account, name: 'Renamed' }));
  assert.notEqual(accountKey({ ...account, identity: null }), accountKey({ ...account, identity: null, name: 'Renamed' }));
  assert.equal(accountKey(account).length, 6);
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
        const known = { itemId, state, rules: RULES, consentExpiresAt: null, circuit: null, now };
        const spent = { logins: 1, accounts: ['one   '], scopes: SCOPES };
        const ended = {
          asker,
          status,
          ...NONE_FAILED,
          full: false,
          connectedOnce: true,
          spent,
          sparedUntil: null,
          retryAfterMs: null,
          fingerprint: null,
        };
        if (asker === 'scheduler') unattended.push(now);
        const after = decideAfter(known, ended);
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
      const known = { itemId, state, rules: RULES, consentExpiresAt: null, circuit: null, now };
      assert.equal(decideAtDue(known, 0).kind, 'refresh');
      const spent = { logins: 1, accounts: ['one   ', 'two   '], scopes: SCOPES };
      const after = decideAfter(known, {
        asker: 'scheduler',
        status: 0,
        ...NONE_FAILED,
        full: false,
        connectedOnce: true,
        spent,
        sparedUntil: null,
        retryAfterMs: null,
        fingerprint: null,
      });
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
  const known = { itemId: 7, state: FRESH, rules: RULES, consentExpiresAt: MONDAY + 9 * DAY_MS, circuit: null, now: MONDAY };
  const ended = { ...NONE_FAILED, full: false, connectedOnce: true, spent: null, sparedUntil: null, retryAfterMs: null, fingerprint: 'f' };
  for (const status of [402, 429, 1010, 1100] as const) {
    assert.equal(decideAfter(known, { ...ended, asker: 'scheduler', status }).dueAt, null);
  }
  assert.notEqual(decideAfter(known, { ...ended, asker: 'user', status: 1010 }).dueAt, null);
  assert.equal(decideAfter({ ...known, consentExpiresAt: null }, { ...ended, asker: 'user', status: 1010 }).dueAt, null);
  assert.equal(decideAfter(known, { ...ended, asker: 'scheduler', status: 0, connectedOnce: false }).dueAt, null);
});

/** Days of one item with a healthy and a dead account, by the scheduler alone: who is asked when. */
function daysOfOneDeadAccount(itemId: number, rules: Rules, days: number): { at: number; accounts: string[] }[] {
  const accounts = ['alive ', 'dead  '];
  const asked: { at: number; accounts: string[] }[] = [];
  let state = FRESH;
  let now = nextSlot(itemId, rules, MONDAY)!;
  while (now < MONDAY + days * DAY_MS) {
    const known = { itemId, state, rules, consentExpiresAt: null, circuit: null, now };
    assert.equal(decideAtDue(known, 1003).kind, 'refresh');
    const onlyFailed = asksOnlyFailed(state, 'scheduler', now);
    const asking = decideAsking(known, 'scheduler', accounts, null, { failed: new Set(['dead  ']), onlyFailed });
    assert.ok(asking.kind === 'ask');
    const fetched = accounts.filter((account) => asking.sparedFor(account) === null);
    asked.push({ at: now, accounts: fetched });
    const after = decideAfter(known, {
      ...{ asker: 'scheduler', status: 1003, someFailed: ['dead  '], onlyFailed, full: false, connectedOnce: true },
      ...{ spent: { logins: 1, accounts: fetched, scopes: SCOPES }, sparedUntil: null, retryAfterMs: null, fingerprint: null },
    });
    assert.ok(after.dueAt! > now);
    state = after.state;
    now = after.dueAt!;
  }
  return asked;
}

test('one account that fails for ever is tried again without its neighbours, which keep their two slots a day', () => {
  fc.assert(
    fc.property(items, fc.constantFrom(4, null), (itemId, callsPerDay) => {
      const rules = { ...RULES, callsPerDay };
      const asked = daysOfOneDeadAccount(itemId, rules, 30);
      const slots = Array.from({ length: 30 }, (_, day) => slotsOfDay(itemId, rules, MONDAY + day * DAY_MS)).flat();
      const alive = asked.filter(({ accounts }) => accounts.includes('alive '));
      assert.deepEqual(
        alive.map(({ at }) => at),
        slots,
      );
      const tries = asked.filter(({ accounts }) => accounts.includes('dead  ')).length;
      assert.ok(tries >= (callsPerDay === null ? 60 : 30), `${tries} tries`);
      assert.ok(asked.length <= 60 + 60, `${asked.length} logins in 30 days`);
      assert.ok(asked.every(({ accounts }) => accounts.length > 0));
    }),
  );
});

test('an account that fails is tried again as soon as an item that does, and once it answers the slot stands', () => {
  const rules = { ...RULES, callsPerDay: null };
  const now = slotsOfDay(7, rules, MONDAY)[0]!;
  const slot = slotsOfDay(7, rules, MONDAY)[1]!;
  const known = (state: ScheduleState, at: number) => ({ itemId: 7, state, rules, consentExpiresAt: null, circuit: null, now: at });
  const ended = {
    ...{ asker: 'scheduler' as const, full: false, connectedOnce: true, sparedUntil: null, retryAfterMs: null, fingerprint: null },
    spent: { logins: 1, accounts: [], scopes: SCOPES },
  };
  const failed = { ...ended, status: 1003 as const, someFailed: ['one   '] };
  const first = decideAfter(known(FRESH, now), { ...failed, onlyFailed: false });
  assert.ok(first.dueAt! - now <= BACK_OFF_MS[0]!);
  assert.deepEqual([first.state.someFailed, first.state.failures], [{ times: 1, slot }, 0]);
  assert.ok(asksOnlyFailed(first.state, 'scheduler', first.dueAt!));
  assert.ok(!asksOnlyFailed(first.state, 'request', first.dueAt!), 'who asks for a refresh asks for all of it');
  assert.ok(!asksOnlyFailed(first.state, 'scheduler', slot));
  const mended = decideAfter(known(first.state, slot - MINUTE_MS), { ...ended, ...NONE_FAILED, status: 0, onlyFailed: true });
  assert.deepEqual([mended.dueAt, mended.state.someFailed], [slot, null]);
  const late = decideAfter(known(first.state, slot + 1), { ...ended, ...NONE_FAILED, status: 0, onlyFailed: true });
  assert.equal(late.dueAt, slot + 2, 'a retry that took longer than the slot delays the others, no more');
  const wished = decideAfter(known(first.state, now + 1), { ...failed, onlyFailed: true, retryAfterMs: 13 * HOUR_MS });
  assert.ok(wished.dueAt! >= now + 1 + 13 * HOUR_MS);
});

test('what the bank wishes binds whoever asks, but for the user: of all accounts, or of those that failed', () => {
  const known = (state: ScheduleState, now: number) => ({ itemId: 7, state, rules: RULES, consentExpiresAt: null, circuit: null, now });
  const ended = {
    ...{ asker: 'request' as const, status: 1007 as const, onlyFailed: false, full: false, connectedOnce: true, sparedUntil: null },
    ...{ spent: { logins: 1, accounts: [], scopes: SCOPES }, retryAfterMs: 6 * HOUR_MS, fingerprint: null },
  };
  const until = MONDAY + 6 * HOUR_MS;
  const soon = MONDAY + MINUTE_MS;
  const spared = { kind: 'spare', status: 1007, info: null, until };
  const whole = decideAfter(known(FRESH, MONDAY), { ...ended, someFailed: null });
  assert.ok(whole.dueAt! >= until);
  for (const asker of ['request', 'completion', 'scheduler'] as const)
    assert.deepEqual(decideAsking(known(whole.state, soon), asker, ['one   '], null), spared, asker);
  assert.equal(decideAsking(known(whole.state, soon), 'user', ['one   '], null).kind, 'ask');
  assert.equal(decideAsking(known(whole.state, until), 'request', ['one   '], null).kind, 'ask');
  assert.deepEqual([possibleAt(known(whole.state, soon)), possibleAt(known(whole.state, until))], [until, until]);
  assert.deepEqual(decideAtDue(known(whole.state, soon), 1007), { kind: 'postpone', until });

  const some = decideAfter(known(FRESH, MONDAY), { ...ended, someFailed: ['two   '] });
  const failed = { failed: new Set(['two   ']), onlyFailed: false };
  const asking = decideAsking(known(some.state, soon), 'completion', ['one   ', 'two   '], null, failed);
  assert.ok(asking.kind === 'ask');
  assert.deepEqual(['one   ', 'two   '].map(asking.sparedFor), [null, 'wish']);
  assert.equal(possibleAt(known(some.state, soon)), soon);
  assert.deepEqual(decideAsking(known(some.state, soon), 'request', ['two   '], null, failed), spared);
  // An answer of the others leaves the wish as it is; the user's visit, and an answer of all, end it.
  const others = { ...ended, someFailed: ['two   '], retryAfterMs: null };
  const kept = decideAfter(known(some.state, soon), { ...others, status: 1003 });
  assert.deepEqual([kept.state.patientUntil, kept.dueAt! >= until], [until, true]);
  assert.equal(decideAfter(known(some.state, soon), { ...others, asker: 'user', status: 1003 }).state.patientUntil, null);
  assert.equal(decideAfter(known(some.state, soon), { ...others, someFailed: null, status: 0 }).state.patientUntil, null);
});

test('credentials that were refused are kept from the bank until they change or the user comes', () => {
  const spent = { logins: 1, accounts: [], scopes: SCOPES };
  const known = { itemId: 7, state: FRESH, rules: RULES, consentExpiresAt: null, circuit: null, now: MONDAY };
  const ended = {
    asker: 'request' as const,
    status: 402 as const,
    ...NONE_FAILED,
    full: false,
    connectedOnce: true,
    spent,
    sparedUntil: null,
    retryAfterMs: null,
  };
  const { state } = decideAfter(known, { ...ended, fingerprint: 'old' });
  const later = { ...known, state, now: MONDAY + DAY_MS };
  assert.deepEqual(decideAsking(later, 'request', [], 'old'), { kind: 'spare', status: 402, info: null, until: null });
  assert.equal(decideAsking(later, 'request', [], 'new').kind, 'ask');
  assert.equal(decideAsking(later, 'user', [], 'old').kind, 'ask');
});

test('without its user an item logs in only so often in 24 hours', () => {
  let state = FRESH;
  const at = (now: number) => ({ itemId: 7, state, rules: RULES, consentExpiresAt: null, circuit: null, now });
  const ended = {
    status: 1003 as const,
    ...NONE_FAILED,
    full: false,
    connectedOnce: true,
    sparedUntil: null,
    retryAfterMs: null,
    fingerprint: null,
  };
  for (let login = 0; login < RULES.loginsPerDay!; login += 1) {
    assert.equal(decideAsking(at(MONDAY + login), 'request', [], null).kind, 'ask');
    const spent = { logins: 1, accounts: [], scopes: SCOPES };
    state = decideAfter(at(MONDAY + login), { ...ended, asker: 'request', spent }).state;
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
  const known = { itemId: 7, state: { ...FRESH, ledger }, rules: RULES, consentExpiresAt: null, circuit: null, now: MONDAY + HOUR_MS };
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
  const known = { itemId: 7, state: FRESH, rules: RULES, consentExpiresAt: expires, circuit: null };
  assert.deepEqual(decideAtDue({ ...known, now: expires }, 0), { kind: 'become', status: 1010, info: 'OTP_REQUIRED', until: null });
  assert.equal(decideAtDue({ ...known, now: expires - 1 }, 0).kind, 'refresh');
  assert.equal(decideAsking({ ...known, now: expires }, 'request', [], null).kind, 'spare');
  assert.deepEqual(
    [15, 14, 8, 7, 2, 1, 0].map((days) => consentNotice(expires, expires - days * DAY_MS)),
    [null, 14, 14, 7, 7, 1, null],
  );
  const after = decideAfter(
    { ...known, now: expires - HOUR_MS },
    {
      asker: 'scheduler',
      status: 0,
      ...NONE_FAILED,
      full: false,
      connectedOnce: true,
      spent: null,
      sparedUntil: null,
      retryAfterMs: null,
      fingerprint: null,
    },
  );
  assert.equal(after.dueAt, expires);
});

test('a bank is left in peace when most of at least five items fail within half an hour', () => {
  const outcomes = (failed: number, fine: number, at = MONDAY) => [
    ...Array.from({ length: failed }, () => ({ at, failed: true })),
    ...Array.from({ length: fine }, () => ({ at, failed: false })),
  ];
  assert.equal(opens(outcomes(ITEMS_MIN - 1, 0), MONDAY), false);
  assert.equal(opens(outcomes(ITEMS_MIN, 0), MONDAY), true);
  assert.equal(opens(outcomes(3, 3), MONDAY), false);
  assert.equal(opens(outcomes(4, 3), MONDAY), true);
  assert.equal(opens(outcomes(9, 0), MONDAY + CIRCUIT_WINDOW_MS), false);
});

test('a suspended bank is asked by one item after 15 minutes, an hour, then every four; the others show 1007 once', () => {
  let circuit = opened(MONDAY);
  const waits: number[] = [];
  let now = MONDAY;
  for (let probe = 0; probe < 4; probe += 1) {
    waits.push((circuit.probeAt - now) / MINUTE_MS);
    now = circuit.probeAt;
    circuit = probeFailed({ ...circuit, probeItemId: 7 }, now);
  }
  assert.deepEqual(waits, [15, 60, 240, 240]);
  const known = { itemId: 7, state: FRESH, rules: RULES, consentExpiresAt: null, circuit, now };
  const first = decideAtDue(known, 0);
  assert.ok(first.kind === 'become' && first.status === 1007 && first.until! > circuit.probeAt);
  assert.equal(decideAtDue(known, 1007).kind, 'postpone');
  assert.equal(decideAtDue({ ...known, now: circuit.probeAt }, 1007).kind, 'probe');
  assert.equal(decideAsking(known, 'request', [], null).kind, 'spare');
  assert.equal(decideAsking(known, 'user', [], null).kind, 'ask');
  assert.equal(decideAsking({ ...known, circuit: { ...circuit, probeItemId: 7 } }, 'scheduler', [], null).kind, 'ask');
});
