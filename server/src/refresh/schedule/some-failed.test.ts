/** Some accounts fail and others answer: whom the scheduler asks, and when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../base/clock.ts';
import { BACK_OFF_MS } from './back-off.ts';
import { asksOnlyFailed, decideAfter, decideAsking, decideAtDue, possibleAt } from './decide.ts';
import type { Rules } from './rules.ts';
import { nextSlot, slotsOfDay } from './slots.ts';
import type { ScheduleState } from './state.ts';
import { ENDED, FRESH, items, KNOWN, MONDAY, RULES, spentOn } from './testing.ts';

/** Days of one item with a healthy and a dead account, by the scheduler alone: who is asked when. */
function daysOfOneDeadAccount(itemId: number, rules: Rules, days: number): { at: number; accounts: string[] }[] {
  const accounts = ['alive ', 'dead  '];
  const asked: { at: number; accounts: string[] }[] = [];
  let state = FRESH;
  let now = nextSlot(itemId, rules, MONDAY)!;
  while (now < MONDAY + days * DAY_MS) {
    const known = { ...KNOWN, itemId, state, rules, now };
    assert.equal(decideAtDue(known, 1003).kind, 'refresh');
    const onlyFailed = asksOnlyFailed(state, 'scheduler', now);
    const asking = decideAsking(known, 'scheduler', accounts, null, { failed: new Set(['dead  ']), onlyFailed });
    assert.ok(asking.kind === 'ask');
    const fetched = accounts.filter((account) => asking.sparedFor(account) === null);
    asked.push({ at: now, accounts: fetched });
    const after = decideAfter(known, { ...ENDED, status: 1003, someFailed: ['dead  '], onlyFailed, spent: spentOn(...fetched) });
    assert.ok(after.dueAt! > now);
    state = after.state;
    now = after.dueAt!;
  }
  return asked;
}

test('one account that fails for ever is tried again without its neighbours, which keep their two slots a day', () => {
  fc.assert(
    fc.property(items, fc.constantFrom(4, null), fc.constantFrom(3, 4, 12, null), (itemId, callsPerDay, loginsPerDay) => {
      const rules = { ...RULES, callsPerDay, loginsPerDay };
      const asked = daysOfOneDeadAccount(itemId, rules, 30);
      const slots = Array.from({ length: 30 }, (_, day) => slotsOfDay(itemId, rules, MONDAY + day * DAY_MS)).flat();
      const alive = asked.filter(({ accounts }) => accounts.includes('alive '));
      assert.deepEqual(
        alive.map(({ at }) => at),
        slots,
      );
      const tries = asked.filter(({ accounts }) => accounts.includes('dead  ')).length;
      assert.ok(tries >= (callsPerDay === null ? 60 : 30), `${tries} tries`);
      assert.ok(asked.every(({ accounts }) => accounts.length > 0));
    }),
  );
});

test('an account that fails for ever costs less than one login more in each half of a day', () => {
  // Of many items: the jitter is full, so that one of them may be tried again soon, and then once more.
  const many = Array.from({ length: 100 }, (_, index) => 4_568_477 + index);
  const logins = many.map((itemId) => daysOfOneDeadAccount(itemId, { ...RULES, callsPerDay: null }, 30).length);
  const mean = logins.reduce((sum, count) => sum + count, 0) / many.length;
  assert.ok(mean > 60 && mean < 60 + 60, `${mean} logins in 30 days`);
});

test('an account that fails is tried again as soon as an item that does, and once it answers the slot stands', () => {
  const rules = { ...RULES, callsPerDay: null };
  const now = slotsOfDay(7, rules, MONDAY)[0]!;
  const slot = slotsOfDay(7, rules, MONDAY)[1]!;
  const known = (state: ScheduleState, at: number) => ({ ...KNOWN, state, rules, now: at });
  const failed = { ...ENDED, status: 1003 as const, someFailed: ['one   '] };
  const first = decideAfter(known(FRESH, now), failed);
  assert.ok(first.dueAt! - now <= BACK_OFF_MS[0]!);
  assert.deepEqual([first.state.someFailed, first.state.failures], [{ times: 1, slot }, 0]);
  assert.ok(asksOnlyFailed(first.state, 'scheduler', first.dueAt!));
  assert.ok(!asksOnlyFailed(first.state, 'request', first.dueAt!), 'who asks for a refresh asks for all of it');
  assert.ok(!asksOnlyFailed(first.state, 'scheduler', slot));
  const mended = decideAfter(known(first.state, slot - MINUTE_MS), { ...ENDED, onlyFailed: true });
  assert.deepEqual([mended.dueAt, mended.state.someFailed], [slot, null]);
  const late = decideAfter(known(first.state, slot + 1), { ...ENDED, onlyFailed: true });
  assert.equal(late.dueAt, slot + 2, 'a retry that took longer than the slot delays the others, no more');
  const wished = decideAfter(known(first.state, now + 1), { ...failed, onlyFailed: true, retryAfterMs: 13 * HOUR_MS });
  assert.ok(wished.dueAt! >= now + 1 + 13 * HOUR_MS);
});

test('what the bank wishes binds whoever asks, but for the user: of all accounts, or of those that failed', () => {
  const known = (state: ScheduleState, now: number) => ({ ...KNOWN, state, now });
  const ended = { ...ENDED, asker: 'request' as const, status: 1007 as const, retryAfterMs: 6 * HOUR_MS };
  const until = MONDAY + 6 * HOUR_MS;
  const soon = MONDAY + MINUTE_MS;
  const spared = { kind: 'spare', status: 1007, info: null, until };
  const whole = decideAfter(known(FRESH, MONDAY), ended);
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
