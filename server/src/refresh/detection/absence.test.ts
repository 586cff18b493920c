import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BLANK, counts, DAY_MS, euros, HOUR_MS, list, liveRows, look, NOON, pending, row } from './fixtures.ts';

describe('absence', () => {
  const rows = [row(-250, 1, 'CAFE'), row(-900, 2, 'LIVRE')];
  const first = look(BLANK, list(rows));

  test('a pending row that its complete list lacks is deleted at once', () => {
    const held = look(BLANK, list([pending(-250, 3, 'CAFE')]));
    assert.equal(look(held.memory, list([])).outcome.deleted[0]?.reason, 'pending_gone');
    assert.equal(counts(look(held.memory, list([], { pendingComplete: false }))), '0/0/0');
  });

  test('a booked row is deleted by the second list at least six hours later', () => {
    const once = look(first.memory, list([rows[0]!]));
    const soon = look(once.memory, list([rows[0]!]), NOON + 6 * HOUR_MS - 1);
    assert.equal(soon.outcome.held[0]?.reason, 'absence_too_soon');
    assert.equal(counts(look(soon.memory, list([rows[0]!]), NOON + 6 * HOUR_MS)), '0/0/1');
  });

  test('a row that is seen again is no longer suspected', () => {
    const once = look(first.memory, list([rows[0]!]));
    const again = look(once.memory, list(rows), NOON + 12 * HOUR_MS);
    assert.equal(counts(again), '0/0/0');
    assert.deepEqual(
      liveRows(again.memory).map(({ missing }) => missing),
      [0, 0],
    );
  });

  test('a list that is refuted by what returns takes its other suspicions back, where the new one does not speak of them', () => {
    const many = Array.from({ length: 20 }, (_, at) => row(-100 - at, 1 + at, `ACHAT NUMERO ${at}`));
    const known = look(BLANK, list(many));
    // Nothing at all, twice: the breaker holds everything. Then a page of the newest rows, and nothing at all again, days later.
    const nothing = look(known.memory, list([]), NOON + 12 * HOUR_MS);
    const nothingAgain = look(nothing.memory, list([]), NOON + 24 * HOUR_MS);
    assert.equal(nothingAgain.memory.breaker?.rows.length, 20);
    const page = look(nothingAgain.memory, list(many.slice(15), { edgeExclusive: true }), NOON + 36 * HOUR_MS);
    assert.deepEqual([counts(page), page.outcome.held.length, page.memory.breaker], ['0/0/0', 0, null]);
    assert.ok(liveRows(page.memory).every(({ missing, missingAt }) => missing === 0 && missingAt === null));
    assert.equal(counts(look(page.memory, list([]), NOON + 10 * DAY_MS)), '0/0/0');
  });

  test('a row that is missing again from the list that refutes the one before is still suspected', () => {
    const three = [...rows, row(-700, 3, 'PAIN')];
    const once = look(look(BLANK, list(three)).memory, list([three[0]!]));
    const again = look(once.memory, list(three.slice(0, 2)), NOON + 12 * HOUR_MS);
    assert.equal(again.outcome.deleted[0]?.row.rawText, 'PAIN');
  });

  test('rows outside the window and in incomplete lists are left alone', () => {
    const outside = look(first.memory, list([], { windows: [{ from: '2026-03-03', to: '2026-03-31' }] }));
    assert.equal(outside.outcome.held.length, 0);
    assert.equal(look(first.memory, list([], { bookedComplete: false })).outcome.held.length, 0);
  });

  test('the oldest day of a list that was cut by count says nothing', () => {
    const cut = look(
      look(BLANK, list([row(-1, 1, 'A'), row(-2, 2, 'B'), row(-3, 2, 'C'), row(-4, 3, 'D'), row(-5, 4, 'E')])).memory,
      list([row(-2, 2, 'B'), row(-5, 4, 'E')], { edgeExclusive: true }),
    );
    assert.deepEqual(
      cut.outcome.held.map(({ row: { rawText } }) => rawText),
      ['D'],
    );
  });

  test('the balance that moved by the missing row confirms it at once', () => {
    const known = look(BLANK, list(rows, {}, euros(10_000)));
    const gone = look(known.memory, list([rows[0]!], {}, euros(10_900)));
    assert.equal(gone.outcome.deleted[0]?.reason, 'balance_agrees');
    assert.equal(gone.outcome.explained, true);
  });

  test('a proven statement deletes at once', () => {
    assert.equal(look(first.memory, list([rows[0]!], { absenceIsFinal: true })).outcome.deleted[0]?.reason, 'absence_final');
  });

  test('a deleted row that returns keeps its id', () => {
    const gone = look(first.memory, list([rows[0]!], { absenceIsFinal: true }));
    const back = look(gone.memory, list(rows), NOON + 2 * DAY_MS);
    assert.equal(counts(back), '0/1/0');
    assert.equal(back.outcome.updated[0]?.evidence.stage, 'returned');
    assert.deepEqual(
      liveRows(back.memory).map(({ id }) => id),
      [1, 2],
    );
  });

  test('a hold dropped on Friday may book on Monday, and not eleven days later', () => {
    const gone = look(look(BLANK, list([pending(-4000, 10, 'RESTAURANT')])).memory, list([]));
    const monday = look(gone.memory, list([row(-4000, 13, 'RESTAURANT')]), NOON + 3 * DAY_MS);
    assert.equal(counts(monday), '0/1/0');
    assert.deepEqual(
      liveRows(monday.memory).map(({ id, status }) => [id, status]),
      [[1, 'booked']],
    );
    assert.equal(counts(look(gone.memory, list([row(-4000, 13, 'RESTAURANT')]), NOON + 11 * DAY_MS)), '1/0/0');
  });
});

describe('the breaker of mass deletions', () => {
  const rows = Array.from({ length: 20 }, (_, at) => row(-100 - at, at + 1, `ACHAT ${'ABCDEFGHIJKLMNOPQRST'[at]}`));
  const first = look(BLANK, list(rows));
  const once = look(first.memory, list([]));
  const twice = look(once.memory, list([]), NOON + 12 * HOUR_MS);

  test('deletes nothing, and asks for a full refresh', () => {
    assert.equal(counts(twice), '0/0/0');
    assert.deepEqual(twice.outcome.anomalies, [{ kind: 'mass_deletion', proposed: 20, covered: 20 }]);
    assert.equal(twice.outcome.fullRefreshWanted, true);
    assert.equal(twice.outcome.nextWindowFrom, '2026-03-01');
  });

  test('does not hold rows that the bank shows with another amount under their stable ids', () => {
    const many = (minor: number) =>
      rows.map(({ rawText, bookingDate }, at) => row(minor - at, Number(bookingDate!.slice(8)), rawText, { providerId: `p${at}` }));
    const known = look(look(BLANK, list(many(-1000))).memory, list(many(-1000), {}, euros(100_000)));
    const corrected = look(known.memory, list(many(-1100), {}, euros(98_000)), NOON + 12 * HOUR_MS);
    assert.deepEqual([counts(corrected), corrected.outcome.held.length, corrected.outcome.breaker], ['20/0/20', 0, null]);
    assert.equal(corrected.outcome.explained, true);
    assert.equal(liveRows(corrected.memory).length, 20);
    // Nor does it go on holding what has waited as absent.
    const lacking = list([], { windows: [{ from: '2026-03-01', to: '2026-03-31' }] });
    const waiting = look(look(known.memory, lacking, NOON + 12 * HOUR_MS).memory, lacking, NOON + 24 * HOUR_MS);
    assert.equal(waiting.memory.breaker?.rows.length, 20);
    const back = look(waiting.memory, list(many(-1100)), NOON + 36 * HOUR_MS);
    assert.deepEqual([counts(back), back.outcome.breaker, liveRows(back.memory).length], ['20/0/20', null, 20]);
  });

  test('is released by two full refreshes', () => {
    const full = look(twice.memory, list([]), NOON + 13 * HOUR_MS, { fullRefresh: true });
    assert.equal(counts(full), '0/0/0');
    const second = look(full.memory, list([]), NOON + 14 * HOUR_MS, { fullRefresh: true });
    assert.equal(counts(second), '0/0/20');
    assert.equal(second.outcome.breaker, null);
  });

  test('is released by two complete lists twenty hours apart, and by the operator', () => {
    assert.equal(counts(look(twice.memory, list([]), NOON + 31 * HOUR_MS)), '0/0/0');
    assert.equal(counts(look(twice.memory, list([]), NOON + 32 * HOUR_MS)), '0/0/20');
    const breaker = { ...twice.outcome.breaker!, released: true };
    assert.equal(counts(look({ ...twice.memory, breaker }, list([]), NOON + 13 * HOUR_MS)), '0/0/20');
  });

  test('forgets when the rows are back', () => {
    const back = look(twice.memory, list(rows), NOON + 13 * HOUR_MS);
    assert.equal(counts(back), '0/0/0');
    assert.equal(back.outcome.breaker, null);
    const released = { ...twice.outcome.breaker!, released: true };
    assert.equal(look({ ...twice.memory, breaker: released }, list(rows), NOON + 13 * HOUR_MS).outcome.breaker, null);
  });
});
