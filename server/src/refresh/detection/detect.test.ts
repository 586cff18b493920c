import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { money } from '../../base/money.ts';
import type { Coverage } from '../../connectors/connector.ts';
import { BLANK, background, counts, euros, HOUR_MS, list, liveRows, look, NOON, pending, row, withStableIds } from './fixtures.ts';
import { trustLevel } from './identifiers.ts';

describe('matching', () => {
  test('a first list is all new', () => {
    const first = look(BLANK, list([row(-250, 1, 'CAFE'), row(-250, 1, 'CAFE'), pending(-990, 2, 'LIVRE')]));
    assert.equal(counts(first), '3/0/0');
    assert.deepEqual(
      first.outcome.created.map(({ row: { id } }) => id),
      [-1, -2, -3],
    );
  });

  test('the same list again, also hours later, changes nothing', () => {
    const rows = [row(-250, 1, 'CAFE'), row(-250, 1, 'CAFE'), pending(-990, 2, 'LIVRE')];
    const first = look(BLANK, list(rows));
    assert.equal(counts(look(first.memory, list(rows))), '0/0/0');
    assert.equal(counts(look(first.memory, list(rows), NOON + 30 * HOUR_MS)), '0/0/0');
  });

  test('S1: a booked row that names its pending row is that row', () => {
    const first = look(BLANK, list([pending(-5000, 1, 'AUTORISATION', { providerId: 'P1' })]));
    const next = look(first.memory, list([row(-7312, 12, 'STATION SERVICE', { providerId: 'B1', linkPendingId: 'P1' })]));
    assert.equal(counts(next), '0/1/0');
    assert.equal(next.outcome.updated[0]?.evidence.stage, 'link');
    assert.deepEqual(
      liveRows(next.memory).map(({ id, providerId, aliases }) => [id, providerId, aliases]),
      [[1, 'B1', ['P1']]],
    );
  });

  test('S2: a stable id carries a row through a new label', () => {
    const first = look(withStableIds(), list([...background(), row(-4200, 11, 'VIR SEPA', { providerId: 'X' })]));
    const next = look(first.memory, list([...background(), row(-4200, 11, 'LOYER MARS', { providerId: 'X' })]));
    assert.equal(counts(next), '0/1/0');
    assert.equal(next.outcome.updated[0]?.evidence.stage, 'id');
  });

  test('S2: an id that is not proven does not carry a row through a new label', () => {
    const first = look(BLANK, list([row(-4200, 11, 'VIR SEPA', { providerId: '1' })]));
    const next = look(first.memory, list([row(-4200, 18, 'LOYER MARS', { providerId: '1' })]));
    assert.equal(next.outcome.counts.updated, 0);
    assert.equal(next.outcome.counts.new, 1);
    assert.equal(next.outcome.idConflicts, 1);
  });

  test('P7: another amount under the stable id of a booked row is a deletion and a new row', () => {
    const first = look(withStableIds(), list([...background(), row(-4200, 11, 'LOYER', { providerId: 'X' })]));
    const next = look(first.memory, list([...background(), row(-4300, 11, 'LOYER', { providerId: 'X' })]));
    assert.equal(counts(next), '1/0/1');
    assert.equal(next.outcome.deleted[0]?.reason, 'amount_changed');
    const owners = next.memory.stored.filter(({ providerId }) => providerId === 'X');
    assert.deepEqual(
      owners.map(({ amount }) => amount.minor),
      [-4300],
    );
  });

  test('S2: a row further away that the list says nothing of keeps its place: its id was given again', () => {
    const first = look(withStableIds(), list([...background(), row(-990, 12, 'ABONNEMENT', { providerId: 'M' })]));
    const cut = { windows: [{ from: '2026-03-15', to: '2026-03-31' }] };
    const again = look(first.memory, list([row(-990, 19, 'ABONNEMENT', { providerId: 'M' })], cut));
    assert.equal(counts(again), '1/0/0');
    assert.equal(again.outcome.created[0]?.cause, 'id_contradicted');
    // Another amount under the id is no reason to delete it either.
    assert.equal(counts(look(first.memory, list([row(-870, 19, 'ABONNEMENT', { providerId: 'M' })], cut))), '1/0/0');
    // A list that would show it if it were there says that it moved.
    const moved = look(first.memory, list([...background(), row(-990, 19, 'ABONNEMENT', { providerId: 'M' })]));
    assert.equal(counts(moved), '0/1/0');
  });

  test('S2: the id yields to a booked row that is exactly what is shown, where no id speaks for that one', () => {
    const first = look(withStableIds(), list([...background(), row(-250, 10, 'CAFE', { providerId: 'C' }), row(-250, 12, 'CAFE')]));
    const next = look(first.memory, list([...background(), row(-250, 12, 'CAFE', { providerId: 'C' })]));
    assert.equal(counts(next), '0/0/0');
    assert.deepEqual(
      next.outcome.held.map(({ row: { date } }) => date),
      ['2026-03-10'],
    );
  });

  test('S4: under stable ids a row that states another id is another row, even if that id stands twice in the answer', () => {
    const first = look(withStableIds(), list([...background(), row(-4200, 11, 'LOYER', { providerId: 'X' })]));
    const twice = [row(-4200, 12, 'LOYER', { providerId: 'Y' }), row(-900, 12, 'LIVRE', { providerId: 'Y' })];
    const next = look(first.memory, list([...background(), ...twice]));
    assert.deepEqual([counts(next), next.outcome.held.length], ['2/0/0', 1]);
  });

  test('S3: ids minted anew at every delivery are learned to mean nothing, and cost no writes', () => {
    const first = look(BLANK, list(background('a')));
    const next = look(first.memory, list(background('b')));
    assert.equal(counts(next), '0/0/0');
    assert.equal(trustLevel(next.outcome.trust), 'unstable');
    assert.equal(next.outcome.touched.length, 0);
  });

  test('S3: of two twins the one that is not suspected is seen again, so that the other is confirmed gone', () => {
    const first = look(BLANK, list([row(-250, 1, 'CAFE'), row(-250, 1, 'CAFE')]));
    const once = look(first.memory, list([row(-250, 1, 'CAFE')]));
    assert.deepEqual(
      once.outcome.held.map(({ row: { id, missing }, reason }) => [id, missing, reason]),
      [[2, 1, 'first_absence']],
    );
    const twice = look(once.memory, list([row(-250, 1, 'CAFE')]), NOON + 12 * HOUR_MS);
    assert.deepEqual(
      twice.outcome.deleted.map(({ row: { id }, reason }) => [id, reason]),
      [[2, 'missing_confirmed']],
    );
  });

  test('S3: the twin that is suspected already stays the suspected one, even if it is the older', () => {
    const { memory } = look(BLANK, list([row(-250, 1, 'CAFE'), row(-250, 1, 'CAFE')]));
    const stored = memory.stored.map((entry) => (entry.id === 1 ? { ...entry, missing: 1, missingAt: NOON - 12 * HOUR_MS } : entry));
    const next = look({ ...memory, stored }, list([row(-250, 1, 'CAFE')]));
    assert.deepEqual(
      next.outcome.deleted.map(({ row: { id } }) => id),
      [1],
    );
  });

  test('S4: a booked row may move three days, not four', () => {
    const first = look(BLANK, list([row(-4200, 10, 'LOYER')]));
    const near = look(first.memory, list([row(-4200, 13, 'LOYER')]));
    assert.equal(counts(near), '0/1/0');
    assert.deepEqual(near.outcome.updated[0]?.evidence, { stage: 'date_moved', days: 3, similarity: 1 });
    const far = look(first.memory, list([row(-4200, 14, 'LOYER')]));
    assert.equal(counts(far), '1/0/0');
    assert.equal(far.outcome.held.length, 1);
  });

  test('S4: a pending row books from the day before to ten days after', () => {
    const first = look(BLANK, list([pending(-4200, 10, 'LOYER')]));
    for (const [day, expected] of [
      [8, '1/0/1'],
      [9, '0/1/0'],
      [20, '0/1/0'],
      [21, '1/0/1'],
    ] as const) {
      assert.equal(counts(look(first.memory, list([row(-4200, day, 'LOYER')]))), expected, `day ${day}`);
    }
  });

  test('S4: without a complete list a similar row is another row', () => {
    const first = look(BLANK, list([row(-4200, 10, 'LOYER')]));
    const next = look(first.memory, list([row(-4200, 11, 'LOYER')], { bookedComplete: false }));
    assert.equal(counts(next), '1/0/0');
    assert.equal(next.outcome.held.length, 0);
  });

  test('S4: under stable ids two rows with different ids are two rows', () => {
    const first = look(withStableIds(), list([...background(), row(-4200, 11, 'LOYER', { providerId: 'X' })]));
    const next = look(first.memory, list([...background(), row(-4200, 12, 'LOYER', { providerId: 'Y' })]));
    assert.equal(counts(next), '1/0/0');
    assert.equal(next.outcome.held.length, 1);
  });

  test('S5: a label that lost its prefix is the same row', () => {
    const first = look(BLANK, list([row(-4200, 10, 'PAIEMENT CB MONOPRIX PARIS')]));
    const next = look(first.memory, list([row(-4200, 11, 'MONOPRIX PARIS')]));
    assert.equal(counts(next), '0/1/0');
    assert.equal(next.outcome.updated[0]?.evidence.stage, 'label_drifted');
  });

  test('S5: the same counterparty is as good as the same label', () => {
    const first = look(BLANK, list([pending(-4200, 10, 'VIREMENT', { counterpartyIban: 'FR76' })]));
    const next = look(first.memory, list([row(-4200, 14, 'AGENCE DU PARC', { counterpartyIban: 'FR76' })]));
    assert.equal(counts(next), '0/1/0');
    assert.equal(next.outcome.updated[0]?.evidence.similarity, 1);
  });

  test('S6: a tip at booking is an update where nothing else can be meant', () => {
    const first = look(BLANK, list([pending(-4000, 10, 'RESTAURANT LE PARC')]));
    const next = look(first.memory, list([row(-4600, 12, 'RESTAURANT LE PARC')]));
    assert.equal(counts(next), '0/1/0');
    assert.equal(next.outcome.updated[0]?.evidence.stage, 'amount_at_booking');
  });

  test('S6: two possible bookings of one hold are not guessed', () => {
    const first = look(BLANK, list([pending(-4000, 10, 'RESTAURANT LE PARC')]));
    const next = look(first.memory, list([row(-4600, 12, 'RESTAURANT LE PARC'), row(-4500, 12, 'RESTAURANT LE PARC')]));
    assert.equal(counts(next), '2/0/1');
  });

  test('S7: a bank that renames its rows at large updates them', () => {
    const first = look(BLANK, list(Array.from({ length: 12 }, (_, at) => row(-100 - at, at + 1, `ANCIEN ${at}`))));
    const next = look(first.memory, list(Array.from({ length: 12 }, (_, at) => row(-100 - at, at + 1, `NEUF LIBELLE`))));
    assert.equal(counts(next), '0/12/0');
    assert.deepEqual(next.outcome.anomalies, [{ kind: 'relabelling', rows: 12 }]);
    assert.equal(next.outcome.fullRefreshWanted, true);
  });
});

describe('the balance', () => {
  const first = look(BLANK, list([row(-250, 1, 'CAFE')], {}, euros(10_000)));

  test('of an account without rows is explained by its first one, and not by history that comes later', () => {
    const at = (minor: number, day: string) => ({ ...euros(minor), at: day });
    const empty = look(BLANK, list([], {}, at(0, '2026-03-10')));
    const first = look(empty.memory, list([row(1000, 12, 'VIREMENT')], {}, at(1000, '2026-03-12')));
    assert.deepEqual([first.outcome.balanceChanged, first.outcome.explained], [true, true]);
    const older = look(empty.memory, list([row(1000, 2, 'VIREMENT')], {}, at(0, '2026-03-12')));
    assert.deepEqual([older.outcome.balanceChanged, older.outcome.explained], [false, true]);
  });

  test('that moves by the new rows is explained', () => {
    const next = look(first.memory, list([row(-250, 1, 'CAFE'), row(-750, 2, 'LIVRE')], {}, euros(9_250)));
    assert.deepEqual([next.outcome.balanceChanged, next.outcome.explained, next.outcome.incomplete1009], [true, true, false]);
  });

  test('that moves without any row is 1009, but not for a loan, nor while rows are held', () => {
    const same = list([row(-250, 1, 'CAFE')], {}, euros(9_000));
    assert.equal(look(first.memory, same).outcome.incomplete1009, true);
    assert.equal(look(first.memory, same, NOON, { accountType: 'loan' }).outcome.incomplete1009, false);
    assert.equal(look(first.memory, list([], {}, euros(9_000))).outcome.incomplete1009, false);
  });

  test('that is missing, older, or of another kind did not change', () => {
    assert.equal(look(first.memory, list([row(-250, 1, 'CAFE')])).outcome.balanceChanged, false);
    const dated = { ...first.memory, balance: { current: { ...euros(10_000), at: '2026-03-10' } } };
    const older = look(dated, list([row(-250, 1, 'CAFE')], {}, { ...euros(5_000), at: '2026-02-28' }));
    assert.deepEqual([older.outcome.balanceChanged, older.outcome.balance?.amount.minor], [false, 10_000]);
    const other = look(first.memory, list([row(-250, 1, 'CAFE')], {}, { ...euros(9_000), kind: 'expected' }));
    assert.deepEqual([other.outcome.balanceChanged, other.outcome.incomplete1009, other.outcome.explained], [false, false, true]);
  });

  test('of zero is a balance', () => {
    assert.equal(look(first.memory, list([row(-250, 1, 'CAFE')], {}, euros(0))).outcome.balance?.amount.minor, 0);
  });
});

describe('statements', () => {
  const ofx = { bookedComplete: false, pendingComplete: false, scheduledComplete: false };

  test('overlapping files take the largest multiplicity of a row', () => {
    const coffees = (count: number) =>
      list(
        Array.from({ length: count }, () => row(-250, 1, 'CAFE')),
        ofx,
      );
    assert.equal(counts(look(BLANK, [coffees(2), coffees(3), coffees(1)])), '3/0/0');
  });

  test('each row of an upload is counted once, against what it was before', () => {
    const first = look(BLANK, list([row(-250, 1, 'CAFE')]));
    const moved = look(first.memory, [list([row(-250, 2, 'CAFE')]), list([row(-250, 1, 'CAFE')])]);
    assert.equal(counts(moved), '0/0/0');
    const passing = look(BLANK, [list([row(-250, 1, 'CAFE')]), list([], { absenceIsFinal: true })]);
    assert.equal(counts(passing), '0/0/0');
  });

  test('a correction replaces or deletes the row that it names, whatever the amount', () => {
    const first = look(BLANK, list([row(-250, 1, 'CAFE', { providerId: 'F1' }), row(-900, 2, 'LIVRE', { providerId: 'F2' })], ofx));
    const replace = row(-260, 1, 'CAFE', { providerId: 'F3', correction: { action: 'replace', providerId: 'F1' } });
    const remove = row(-900, 2, 'LIVRE', { providerId: 'F4', correction: { action: 'delete', providerId: 'F2' } });
    const next = look(first.memory, list([replace, remove], ofx));
    assert.equal(counts(next), '0/1/1');
    assert.deepEqual(
      liveRows(next.memory).map(({ id, amount }) => [id, amount.minor]),
      [[1, -260]],
    );
    assert.equal(counts(look(next.memory, list([replace, remove], ofx))), '0/0/0');
  });

  test('a row and its correction in one file are one row', () => {
    const replace = row(-260, 1, 'CAFE', { providerId: 'F3', correction: { action: 'replace', providerId: 'F1' } });
    const both = look(BLANK, list([row(-250, 1, 'CAFE', { providerId: 'F1' }), replace], ofx));
    assert.deepEqual(
      liveRows(both.memory).map(({ amount }) => amount.minor),
      [-260],
    );
  });

  test('amounts of five decimals differ in the fifth', () => {
    const fine = (minor: number) => list([{ ...row(0, 1, 'FRAIS'), amount: money(minor, 5, 'EUR') }]);
    assert.equal(counts(look(look(BLANK, fine(123456)).memory, fine(123457))), '1/0/0');
  });
});

describe('the next window', () => {
  test('reaches back two weeks, to the oldest pending row, and to rows under suspicion', () => {
    assert.equal(look(BLANK, list([row(-1, 20, 'A')])).outcome.nextWindowFrom, '2026-03-06');
    assert.equal(look(BLANK, list([row(-1, 20, 'A'), pending(-1, 4, 'B')])).outcome.nextWindowFrom, '2026-03-01');
    const first = look(BLANK, list([row(-1, 20, 'A'), row(-2, 2, 'B')]));
    assert.equal(look(first.memory, list([row(-1, 20, 'A')])).outcome.nextWindowFrom, '2026-03-02');
    assert.equal(look(BLANK, list([])).outcome.nextWindowFrom, null);
    assert.equal(look(BLANK, list([row(-1, 31, 'LATER')])).outcome.nextWindowFrom, '2026-03-06');
  });

  test('passes over no day that a list which was broken off or cut does not hold, for 90 days', () => {
    const from = (windowFrom: string, coverage: Partial<Coverage>) =>
      look(BLANK, list([row(-1, 20, 'A')], coverage), NOON, { windowFrom }).outcome.nextWindowFrom;
    assert.equal(from('2026-02-10', {}), '2026-03-06');
    assert.equal(from('2026-02-10', { bookedComplete: false }), '2026-02-10');
    assert.equal(from('2026-02-10', { edgeExclusive: true }), '2026-02-10');
    assert.equal(from('2026-03-10', { bookedComplete: false }), '2026-03-06');
    assert.equal(from('2025-06-01', { bookedComplete: false }), '2025-12-20');
    // Cut, but not before the day asked for.
    const cut = look(BLANK, list([row(-1, 20, 'A'), row(-1, 2, 'B')], { edgeExclusive: true }), NOON, { windowFrom: '2026-03-04' });
    assert.equal(cut.outcome.nextWindowFrom, '2026-03-06');
  });
});
