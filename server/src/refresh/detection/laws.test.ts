import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { money, parseDecimal, toNumber } from '../../base/money.ts';
import type { Observation } from '../../connectors/connector.ts';
import { BLANK, counts, HOUR_MS, list, liveRows, look, type Memory, NOON, pending, row } from './fixtures.ts';
import { reasonsOf } from './reasons.ts';
import type { StoredTransaction } from './types.ts';

const LABELS = ['CAFE', 'CB MONOPRIX PARIS', 'PAIEMENT CB MONOPRIX PARIS', 'VIR LOYER', 'EDF', 'Café 12/03'];

const observation: fc.Arbitrary<Observation> = fc
  .record({
    booked: fc.boolean(),
    minor: fc.constantFrom(-250, -250, -1299, -1300, 5000, 0),
    day: fc.integer({ min: 1, max: 12 }),
    label: fc.constantFrom(...LABELS),
    id: fc.option(fc.constantFrom('1', '2', '3', '20260301-1', 'a', 'b', 'c', 'd'), { nil: undefined }),
    iban: fc.option(fc.constantFrom('FR1', 'FR2'), { nil: undefined }),
  })
  .map(({ booked, minor, day, label, id, iban }) => {
    const more = { ...(id === undefined ? {} : { providerId: id }), ...(iban === undefined ? {} : { counterpartyIban: iban }) };
    return (booked ? row : pending)(minor, day, label, more);
  });
const observations = fc.array(observation, { maxLength: 14 });

/** What a client can see of a row, apart from its id. */
function visible(entry: StoredTransaction): string {
  return `${entry.status} ${entry.date} ${entry.amount.minor} ${entry.amount.currency} ${entry.rawText}`;
}
function shown({ status, bookingDate, transactionDate, amount, rawText }: Observation): string {
  return `${status} ${bookingDate ?? transactionDate} ${amount.minor} ${amount.currency} ${rawText}`;
}
const visibleRows = (memory: Memory) => liveRows(memory).map(visible).sort();
const shownRows = (rows: readonly Observation[]) => rows.map(shown).sort();

describe('laws', () => {
  test('apply(detect(a, b), a) = b, once absence is confirmed', () => {
    fc.assert(
      fc.property(fc.array(observations, { minLength: 1, maxLength: 4 }), (lists) => {
        let memory = BLANK;
        let now = NOON;
        for (const rows of lists) {
          now += 24 * HOUR_MS;
          memory = look(memory, list(rows, { absenceIsFinal: true }), now, { breaker: { rows: [], released: true } }).memory;
          assert.deepEqual(visibleRows(memory), shownRows(rows));
        }
      }),
      { numRuns: 400 },
    );
  });

  test('P1: a replay, also hours later, makes no event', () => {
    fc.assert(
      fc.property(observations, observations, (before, rows) => {
        const first = look(look(BLANK, list(before)).memory, list(rows, { absenceIsFinal: true }), NOON, {
          breaker: { rows: [], released: true },
        });
        const again = look(first.memory, list(rows, { absenceIsFinal: true }));
        assert.equal(counts(again), '0/0/0');
        assert.equal(counts(look(again.memory, list(rows), NOON + 30 * HOUR_MS)), '0/0/0');
      }),
      { numRuns: 400 },
    );
  });

  test('P2: the order of the rows changes nothing', () => {
    const orders = fc.tuple(observations, observations).chain(([before, rows]) =>
      fc.record({
        before: fc.constant(before),
        rows: fc.constant(rows),
        shuffled: fc.shuffledSubarray(rows, { minLength: rows.length }),
        seed: fc.integer(),
      }),
    );
    fc.assert(
      fc.property(orders, ({ before, rows, shuffled, seed }) => {
        const { memory } = look(BLANK, list(before));
        const turned = memory.stored.toSorted((a, b) => ((a.id * 7919 + seed) % 13) - ((b.id * 7919 + seed) % 13));
        const one = look(memory, list(rows)).outcome;
        const other = look({ ...memory, stored: turned }, list(shuffled)).outcome;
        assert.deepEqual(other, one);
      }),
      { numRuns: 600 },
    );
  });

  test('P3: n identical rows in are n rows', () => {
    fc.assert(
      fc.property(fc.nat({ max: 50 }), fc.nat({ max: 50 }), (count, more) => {
        const rows = (size: number) => list(Array.from({ length: size }, () => row(-250, 3, 'CAFE')));
        const first = look(BLANK, rows(count));
        assert.equal(first.outcome.counts.new, count);
        assert.equal(counts(look(first.memory, rows(count + more))), `${more}/0/0`);
      }),
    );
  });

  test('P4: a smaller window right after makes no event', () => {
    fc.assert(
      fc.property(observations, fc.integer({ min: 1, max: 13 }), (rows, day) => {
        const first = look(BLANK, list(rows));
        const from = `2026-03-${String(day).padStart(2, '0')}`;
        const inside = rows.filter((entry) => (entry.bookingDate ?? entry.transactionDate ?? '') >= from);
        const next = look(first.memory, list(inside, { windows: [{ from, to: '2026-03-31' }] }));
        assert.deepEqual([counts(next), next.outcome.held.length], ['0/0/0', 0]);
      }),
      { numRuns: 400 },
    );
  });

  test('P5: after two complete lists the booked rows are the bank’s', () => {
    fc.assert(
      fc.property(observations, observations, (before, rows) => {
        const operator = { breaker: { rows: [], released: true } };
        const first = look(BLANK, list(before));
        const second = look(first.memory, list(rows), NOON + 12 * HOUR_MS, operator);
        const third = look(second.memory, list(rows), NOON + 24 * HOUR_MS, operator);
        assert.deepEqual(visibleRows(third.memory), shownRows(rows));
      }),
      { numRuns: 400 },
    );
  });

  test('P6: a row keeps its id through new bank ids, a dropped prefix, a shifted date, and booking', () => {
    const change = fc.constantFrom<(entry: Observation) => Observation>(
      (entry) => ({ ...entry, providerId: `${entry.providerId}-again` }),
      (entry) => ({ ...entry, rawText: entry.rawText.replace('PAIEMENT CB ', '') }),
      (entry) => ({ ...entry, bookingDate: `2026-03-${Number(entry.bookingDate!.slice(8)) + 2}` }),
    );
    fc.assert(
      fc.property(fc.array(change, { minLength: 6, maxLength: 6 }), fc.boolean(), (changes, wasPending) => {
        const booked = changes.map((_, at) => row(-1000 - 500 * at, 10 + at, `PAIEMENT CB MAGASIN NUMERO${at}`, { providerId: `id${at}` }));
        const first = look(BLANK, list(booked.map((entry) => (wasPending ? { ...entry, status: 'pending' as const } : entry))));
        const next = look(first.memory, list(booked.map((entry, at) => changes[at]!(entry))));
        assert.deepEqual([next.outcome.counts.new, next.outcome.counts.deleted, next.outcome.held.length], [0, 0, 0]);
      }),
    );
  });

  test('P7: no match rewrites the amount of a booked row', () => {
    fc.assert(
      fc.property(observations, observations, observations, (first, second, third) => {
        let memory = BLANK;
        for (const rows of [first, second, third]) {
          const next = look(memory, list(rows), NOON, { trust: { agreements: 100, disagreements: 0 } });
          for (const { before, after } of next.outcome.updated) {
            if (before.status === 'booked') assert.deepEqual(after.amount, before.amount);
          }
          memory = next.memory;
        }
      }),
      { numRuns: 400 },
    );
  });

  test('an id belongs to one row, and no row is counted twice', () => {
    fc.assert(
      fc.property(fc.array(observations, { minLength: 2, maxLength: 5 }), (lists) => {
        let memory = BLANK;
        lists.forEach((rows, at) => {
          const next = look(memory, list(rows), NOON + at * 7 * HOUR_MS);
          const { updated, deleted, held, touched } = next.outcome;
          const ids = [
            ...updated.map(({ after }) => after.id),
            ...[...deleted, ...held].map((entry) => entry.row.id),
            ...touched.map(({ id }) => id),
          ];
          assert.equal(new Set(ids).size, ids.length);
          memory = next.memory;
          const bankIds = liveRows(memory).flatMap(({ providerId, aliases }) => [...(providerId === null ? [] : [providerId]), ...aliases]);
          assert.equal(new Set(bankIds).size, bankIds.length);
        });
      }),
      { numRuns: 400 },
    );
  });

  test('each counted or held row has one reason, with what was before and after', () => {
    fc.assert(
      fc.property(observations, observations, (before, rows) => {
        const next = look(look(BLANK, list(before)).memory, list(rows));
        const { counts: counted, held } = next.outcome;
        const reasons = [...reasonsOf(next.outcome)];
        assert.equal(new Set(reasons.map(({ row: id }) => id)).size, reasons.length);
        const of = (change: string) => reasons.filter((reason) => reason.change === change);
        assert.deepEqual(
          ['new', 'updated', 'deleted', 'held'].map((change) => of(change).length),
          [counted.new, counted.updated, counted.deleted, held.length],
        );
        for (const reason of of('updated')) assert.notDeepEqual(reason.before, reason.after);
        for (const reason of of('new')) assert.ok(reason.before === null && reason.after !== null);
        for (const reason of of('deleted')) assert.ok(reason.before !== null && reason.after === null);
      }),
      { numRuns: 400 },
    );
  });

  test('over any refreshes the sums of the counts are the rows that are there', () => {
    fc.assert(
      fc.property(fc.array(observations, { minLength: 1, maxLength: 6 }), (lists) => {
        let memory = BLANK;
        let live = 0;
        lists.forEach((rows, at) => {
          const next = look(memory, list(rows), NOON + at * 7 * HOUR_MS);
          const { counts: counted, updated } = next.outcome;
          live += counted.new - counted.deleted + updated.filter(({ before }) => before.deletedAt !== null).length;
          memory = next.memory;
          assert.equal(liveRows(memory).length, live);
        });
      }),
      { numRuns: 400 },
    );
  });

  test('P11: no hour of the day moves a date or makes an event', () => {
    fc.assert(
      fc.property(observations, fc.integer({ min: 0, max: 47 }), (rows, hours) => {
        const midnight = Date.parse('2026-03-28T23:00:00Z');
        const first = look(BLANK, list(rows), midnight);
        assert.deepEqual(visibleRows(first.memory), shownRows(rows));
        const next = look(first.memory, list(rows), midnight + hours * HOUR_MS);
        assert.deepEqual([counts(next), visibleRows(next.memory)], ['0/0/0', shownRows(rows)]);
      }),
      { numRuns: 300 },
    );
  });

  test('P12: amounts survive the way they are written', () => {
    const written = (text: string) => toNumber(parseDecimal(text, 'EUR') ?? money(1, 0, 'EUR'));
    assert.deepEqual(['1234.5', '-0.00', '1 234,56'].map(written), [1234.5, 0, 1234.56]);
  });
});
