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
const dayOfMarch = (day: number) => `2026-03-${String(day).padStart(2, '0')}`;
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
      fc.property(observations, fc.integer({ min: 1, max: 13 }), fc.integer({ min: 0, max: 18 }), (rows, day, days) => {
        const first = look(BLANK, list(rows));
        const [from, to] = [dayOfMarch(day), dayOfMarch(day + days)];
        // Lists of what is not booked have no later end.
        const inside = rows.filter(({ status, bookingDate, transactionDate }) => {
          const date = bookingDate ?? transactionDate ?? '';
          return date >= from && (status !== 'booked' || date <= to);
        });
        const next = look(first.memory, list(inside, { windows: [{ from, to }] }));
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
    const shifted = (entry: Observation, days: number) => ({
      ...entry,
      bookingDate: dayOfMarch(Number(entry.bookingDate!.slice(8)) + days),
    });
    const change = fc.oneof(
      fc.constantFrom<(entry: Observation) => Observation>(
        (entry) => ({ ...entry, providerId: `${entry.providerId}-again` }),
        (entry) => ({ ...entry, rawText: entry.rawText.replace('PAIEMENT CB ', '') }),
      ),
      fc.integer({ min: -3, max: 3 }).map((days) => (entry: Observation) => shifted(entry, days)),
    );
    fc.assert(
      fc.property(fc.array(change, { minLength: 6, maxLength: 6 }), fc.boolean(), (changes, wasPending) => {
        const booked = changes.map((_, at) => row(-1000 - 500 * at, 10 + at, `PAIEMENT CB MAGASIN NUMERO${at}`, { providerId: `id${at}` }));
        const first = look(BLANK, list(booked.map((entry) => (wasPending ? { ...entry, status: 'pending' as const } : entry))));
        // A hold never books much before its own day; booked rows move either way.
        const moves = (entry: Observation, at: number) => (wasPending ? shifted(changes[at]!(entry), 3) : changes[at]!(entry));
        const next = look(first.memory, list(booked.map(moves)));
        assert.deepEqual([next.outcome.counts.new, next.outcome.counts.deleted, next.outcome.held.length], [0, 0, 0]);
        const amountsOf = (memory: Memory) => new Map(liveRows(memory).map(({ id, amount }) => [id, amount.minor]));
        assert.deepEqual(amountsOf(next.memory), amountsOf(first.memory));
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

  test('P11: no time zone of the server moves a date or makes an event', () => {
    const zone = process.env.TZ;
    const inZone = <T>(name: string, work: () => T): T => {
      process.env.TZ = name;
      return work();
    };
    const zones = fc.constantFrom('UTC', 'Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Europe/Paris', 'America/St_Johns');
    try {
      fc.assert(
        fc.property(observations, observations, fc.integer({ min: 0, max: 23 }), zones, zones, (before, rows, hour, one, other) => {
          // The night in which Europe has no hour from two to three.
          const now = Date.parse('2026-03-28T23:00:00Z') + hour * HOUR_MS;
          const first = inZone(one, () => look(BLANK, list(before), now));
          // A row without any date has the day on which it is first seen.
          const { bookingDate: _, ...undated } = row(-4_200, 1, 'SANS DATE');
          const seen = list([...rows, undated]);
          const next = inZone(other, () => look(first.memory, seen, now + HOUR_MS));
          assert.deepEqual(visibleRows(first.memory), shownRows(before));
          assert.deepEqual(next.outcome, inZone(one, () => look(first.memory, seen, now + HOUR_MS)).outcome);
          assert.equal(
            inZone(one, () => counts(look(first.memory, list(before), now + HOUR_MS))),
            '0/0/0',
          );
        }),
        { numRuns: 200 },
      );
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });

  test('P12: amounts survive the way they are written', () => {
    const written = (text: string) => toNumber(parseDecimal(text, 'EUR') ?? money(1, 0, 'EUR'));
    assert.deepEqual(['1234.5', '-0.00', '1 234,56'].map(written), [1234.5, 0, 1234.56]);
    fc.assert(
      fc.property(
        fc.integer({ min: -(10 ** 11), max: 10 ** 11 }),
        fc.constantFrom('.', ','),
        fc.constantFrom('', ' ', '\u00A0', '\u202F'),
        (minor, point, space) => {
          const [units, cents] = [Math.trunc(Math.abs(minor) / 100), Math.abs(minor) % 100];
          const grouped = String(units).replace(/\B(?=(\d{3})+$)/g, space);
          const text = `${minor < 0 ? '-' : ''}${grouped}${point}${String(cents).padStart(2, '0')}`;
          const read = parseDecimal(text, 'EUR');
          assert.deepEqual(read, money(minor === 0 ? 0 : minor, 2, 'EUR'), text);
          assert.deepEqual(parseDecimal(String(toNumber(read!)), 'EUR'), read);
        },
      ),
    );
  });
});
