import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BLANK, background, HOUR_MS, list, look, NOON, pending, row, withStableIds } from './fixtures.ts';
import { reasonsOf } from './reasons.ts';

const summary = ({ outcome }: ReturnType<typeof look>) =>
  [...reasonsOf(outcome)].map(({ row: id, change, stage, evidence, before, after }) => [
    id,
    change,
    stage,
    evidence,
    before?.amount.minor ?? null,
    after?.amount.minor ?? null,
  ]);

describe('reasons', () => {
  test('a new row says why no stored one was taken for it', () => {
    assert.deepEqual(summary(look(BLANK, list([row(-250, 1, 'CAFE')]))), [
      [-1, 'new', 'unmatched', { cause: 'nothing_alike' }, null, -250],
    ]);
    const hold = look(BLANK, list([pending(-4000, 10, 'RESTAURANT LE PARC')]));
    const two = look(hold.memory, list([row(-4600, 12, 'RESTAURANT LE PARC'), row(-4500, 12, 'RESTAURANT LE PARC')]));
    assert.deepEqual(
      two.outcome.created.map(({ cause }) => cause),
      ['ambiguous', 'ambiguous'],
    );
    const counter = look(BLANK, list([row(-4200, 11, 'VIR SEPA', { providerId: '1' })]));
    const another = look(counter.memory, list([row(-4200, 18, 'LOYER MARS', { providerId: '1' })]));
    assert.deepEqual(
      another.outcome.created.map(({ cause }) => cause),
      ['id_contradicted'],
    );
  });

  test('another amount under a stable id names both rows', () => {
    const first = look(withStableIds(), list([...background(), row(-4200, 11, 'LOYER', { providerId: 'X' })]));
    const next = look(first.memory, list([...background(), row(-4300, 11, 'LOYER', { providerId: 'X' })]));
    assert.deepEqual(summary(next), [
      [-1, 'new', 'unmatched', { cause: 'amount_changed' }, null, -4300],
      [11, 'deleted', 'absent', { cause: 'amount_changed', missing: 0, missingAt: null }, -4200, null],
    ]);
  });

  test('an updated row gives the stage, the distance, the likeness, before and after', () => {
    const first = look(BLANK, list([pending(-4000, 10, 'RESTAURANT LE PARC')]));
    assert.deepEqual(summary(look(first.memory, list([row(-4600, 12, 'RESTAURANT LE PARC')]))), [
      [1, 'updated', 'amount_at_booking', { days: 2, similarity: 1 }, -4000, -4600],
    ]);
  });

  test('a held row stays, a deleted one is gone, and both say how often they were missed', () => {
    const first = look(BLANK, list([row(-250, 1, 'CAFE')]));
    const once = look(first.memory, list([]));
    const held = { cause: 'first_absence', missing: 1, missingAt: NOON };
    assert.deepEqual(summary(once), [[1, 'held', 'absent', held, -250, -250]]);
    const later = NOON + 12 * HOUR_MS;
    const gone = { cause: 'missing_confirmed', missing: 2, missingAt: later };
    assert.deepEqual(summary(look(once.memory, list([]), later)), [[1, 'deleted', 'absent', gone, -250, null]]);
  });
});
