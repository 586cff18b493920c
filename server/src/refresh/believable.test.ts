import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { money } from '../base/money.ts';
import type { Batch, Observation } from '../connectors/connector.ts';
import { checkBatches, withOwnBalances, withStorableTexts } from './believable.ts';
import { BLANK, counts, list, liveRows, look, row } from './detection/fixtures.ts';

const broken = (part: Record<string, unknown>): Batch => list([{ ...row(-250, 1, 'CAFE'), ...part } as Observation]);

describe('an answer of a bank', () => {
  test('is taken with dates of 1900 and of years to come, without dates, and in any currency', () => {
    checkBatches([list([row(-250, 1, 'CAFE'), { ...row(1, 1, ''), bookingDate: '1900-01-01', valueDate: '2999-12-31' }])], 'EUR');
    const { bookingDate: _, ...undated } = row(-250, 1, 'CAFE');
    checkBatches([list([undated, { ...undated, amount: money(5, 3, 'KWD') }])], 'EUR');
  });

  test('is refused as a whole when a row is rubbish, and the words of the row are not repeated', () => {
    const rubbish = [
      { amount: { minor: 1.5, exponent: 2, currency: 'EUR' } },
      { amount: { minor: Number.NaN, exponent: 2, currency: 'EUR' } },
      { amount: { minor: 1, exponent: 9, currency: 'EUR' } },
      { amount: { minor: 1, exponent: 2, currency: 'euro' } },
      { bookingDate: '2026-02-31' },
      { bookingDate: '01/02/2026' },
      { valueDate: '2026-13-01' },
      { status: 'maybe' },
      { rawText: null },
    ];
    for (const part of rubbish) {
      assert.throws(
        () => checkBatches([broken({ rawText: 'SECRET', ...part })], 'EUR'),
        (error: Error) => !error.message.includes('SECRET'),
        JSON.stringify(part),
      );
    }
    assert.throws(() => checkBatches([list([], { windows: [{ from: 'yesterday', to: '2026-03-31' }] })], 'EUR'));
  });

  test('may have 200,000 rows, not one more', () => {
    const rows = new Array<Observation>(200_000).fill(row(-250, 1, 'CAFE'));
    checkBatches([list(rows)], 'EUR');
    assert.throws(() => checkBatches([list(rows), list([row(-250, 1, 'CAFE')])], 'EUR'), /more than 200000 rows/);
  });

  test('is kept in texts that every database keeps, and untouched where all can be', () => {
    const plain = [list([row(-250, 1, 'CAF\u00C9 \u202E \uD83D\uDE00')])];
    assert.equal(withStorableTexts(plain), plain);
    const [kept] = withStorableTexts([list([row(-250, 1, 'A\0', { providerId: 'x\uD83D' }), row(-1, 1, 'B')])]);
    assert.deepEqual(
      kept!.observations.map(({ rawText, providerId }) => [rawText, providerId]),
      [
        ['A\uFFFD', 'x\uFFFD'],
        ['B', undefined],
      ],
    );
  });

  test("loses balances in another currency than their row's, which tell nothing of it, and is untouched without", () => {
    const own = { balanceAfter: money(9_750, 2, 'EUR') };
    const foreign = { balanceAfter: money(9_750, 2, 'USD') };
    const plain = [list([row(-250, 1, 'CAFE', own), row(-250, 2, 'CAFE')])];
    assert.equal(withOwnBalances(plain), plain);
    // Two alike: which of them is gone is for their balances to say, if they say anything.
    const first = look(BLANK, withOwnBalances([list([row(-250, 1, 'CAFE', own), row(-250, 1, 'CAFE', foreign)])]));
    assert.deepEqual(
      liveRows(first.memory)
        .map(({ balanceAfter }) => balanceAfter?.currency ?? null)
        .sort(),
      ['EUR', null],
    );
    const again = look(first.memory, withOwnBalances([list([row(-250, 1, 'CAFE', foreign)])]));
    assert.deepEqual([counts(again), again.outcome.touched.length], ['0/0/0', 0]);
    assert.deepEqual(
      again.outcome.held.map(({ row: { balanceAfter } }) => balanceAfter),
      [own.balanceAfter],
    );
  });
});
