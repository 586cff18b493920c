import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { money } from '../../base/money.ts';
import { BLANK, counts, DAY_MS, euros, HOUR_MS, list, liveRows, look, NOON, pending, row } from './fixtures.ts';
import { norm } from './normalise.ts';

const undated = (minor: number, rawText: string) => {
  const { transactionDate: _, ...rest } = pending(minor, 1, rawText);
  return rest;
};

describe('rows without a date', () => {
  test('keep the day on which they were first seen, and are counted once', () => {
    const rows = [undated(-250, 'CAFE'), undated(-250, 'CAFE'), undated(-990, 'LIVRE')];
    const first = look(BLANK, list(rows));
    assert.equal(counts(first), '3/0/0');
    const later = look(first.memory, list(rows.toReversed()), NOON + 3 * DAY_MS);
    assert.equal(counts(later), '0/0/0');
    assert.deepEqual(new Set(liveRows(later.memory).map(({ date }) => date)), new Set(['2026-03-20']));
  });

  test('do not take the day of a row of the same words that states its own', () => {
    const rows = [undated(-250, 'CAFE'), pending(-250, 28, 'CAFE'), pending(-250, 3, 'CAFE')];
    const first = look(BLANK, list(rows));
    const later = look(first.memory, list(rows), NOON + DAY_MS);
    assert.deepEqual([counts(first), counts(later)], ['3/0/0', '0/0/0']);
  });

  test('become the row that books with a date', () => {
    const first = look(BLANK, list([undated(-250, 'CAFE')]));
    const booked = look(first.memory, list([row(-250, 22, 'CAFE')]), NOON + 2 * DAY_MS);
    assert.deepEqual([counts(booked), liveRows(booked.memory).map(({ id }) => id)], ['0/1/0', [1]]);
  });
});

describe('strange dates', () => {
  test('of 1900 and of years to come are rows like others, and neither draws the next window to itself', () => {
    const rows = [row(-1, 15, 'A'), { ...row(-2, 1, 'B'), bookingDate: '1900-01-01' }, { ...row(-3, 1, 'C'), bookingDate: '2999-12-31' }];
    const first = look(BLANK, list(rows));
    assert.equal(counts(first), '3/0/0');
    assert.equal(first.outcome.nextWindowFrom, '2026-03-06');
    assert.equal(counts(look(first.memory, list(rows), NOON + 12 * HOUR_MS)), '0/0/0');
    // Outside what the list vouches for, they are not missed.
    const without = look(first.memory, list(rows.slice(0, 1)), NOON + 12 * HOUR_MS);
    assert.deepEqual([counts(without), without.outcome.held.length], ['0/0/0', 0]);
  });
});

describe('strange amounts', () => {
  test('of no to four decimals, yen and dinars differ by their smallest unit', () => {
    for (const [exponent, currency] of [
      [0, 'JPY'],
      [2, 'EUR'],
      [3, 'KWD'],
      [3, 'EUR'],
      [4, 'EUR'],
    ] as const) {
      const shown = (minor: number) => list([{ ...row(0, 1, 'FRAIS'), amount: money(minor, exponent, currency) }]);
      const first = look(BLANK, shown(12_345));
      assert.equal(counts(look(first.memory, shown(12_345))), '0/0/0', currency);
      assert.equal(counts(look(first.memory, shown(12_346))), '1/0/0', currency);
    }
    const plain = (exponent: number) => list([{ ...row(0, 1, 'FRAIS'), amount: money(125 * 10 ** exponent, exponent, 'EUR') }]);
    assert.equal(counts(look(look(BLANK, plain(0)).memory, plain(4))), '0/0/0');
  });

  test('a balance may be negative or zero, and moves exactly in any number of decimals', () => {
    const known = look(BLANK, list([row(-250, 1, 'CAFE')], {}, euros(-10)));
    const next = look(known.memory, list([row(-250, 1, 'CAFE'), row(10, 2, 'AVOIR')], {}, euros(0)));
    assert.deepEqual([next.outcome.balanceChanged, next.outcome.explained, next.outcome.balance?.amount.minor], [true, true, 0]);
  });
});

describe('strange labels', () => {
  test('with control characters and marks of direction are kept as they are and found again without them', () => {
    const label = 'CAFE\u0000 DU\u0007\u202E PARC\u200F';
    const first = look(BLANK, list([row(-250, 1, label)]));
    assert.equal(liveRows(first.memory)[0]?.rawText, label);
    assert.equal(counts(look(first.memory, list([row(-250, 1, label)]))), '0/0/0');
    const cleaned = look(first.memory, list([row(-250, 1, 'CAFE DU PARC')]));
    assert.deepEqual([counts(cleaned), cleaned.outcome.updated[0]?.evidence.stage], ['0/1/0', 'content']);
  });

  test('of 10,000 characters cost no square of their length', () => {
    const labels = ['A', 'X', '*', 'A*', '1.', ' ', 'é', '\uFDFA'].map((part) => part.repeat(10_000 / part.length));
    const rows = labels.map((label, at) => row(-100 - at, 1, label));
    const started = process.cpuUsage();
    for (const label of labels) norm(label);
    const first = look(BLANK, list(rows));
    const next = look(first.memory, list(rows.map((entry) => ({ ...entry, rawText: `${entry.rawText}!` }))));
    const { user } = process.cpuUsage(started);
    assert.equal(next.outcome.counts.new, 0);
    // A square would be ten seconds; this is some milliseconds on an idle machine.
    assert.ok(user < 1_000_000, `${user} µs`);
  });
});

test('an answer of 200,000 rows is compared in bounded time and memory', () => {
  const rows = Array.from({ length: 200_000 }, (_, at) =>
    row(-1 - (at % 5_000), 1 + (at % 28), `MAGASIN ${at % 900}`, { providerId: `t${at}` }),
  );
  const heapBefore = process.memoryUsage().heapUsed;
  const started = process.cpuUsage();
  const first = look(BLANK, list(rows));
  assert.equal(first.outcome.counts.new, 200_000);
  assert.equal(counts(look(first.memory, list(rows))), '0/0/0');
  const { user } = process.cpuUsage(started);
  // Twice the work at 100,000 rows a second, a fifth of what the benchmark shows.
  assert.ok(user < 8_000_000, `${user} µs`);
  assert.ok(process.memoryUsage().heapUsed - heapBefore < 600 * 2 ** 20);
});
