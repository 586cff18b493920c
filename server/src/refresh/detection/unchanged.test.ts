import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BLANK, background, counts, list, liveRows, look, NOON, pending, row } from './fixtures.ts';
import { splitUnchanged } from './unchanged.ts';

const splitOf = (stored: ReturnType<typeof background>, shown: ReturnType<typeof background>, trust: 'stable' | 'unstable' | 'unknown') =>
  splitUnchanged(look(BLANK, list(stored)).memory.stored, shown, () => trust);

describe('rows that stand as they stood', () => {
  test('become no working rows', () => {
    const { live, fetched, settled, touched } = splitOf(background(), background().toReversed(), 'unknown');
    assert.deepEqual([live.length, fetched.length, settled.length, touched.length], [0, 0, 10, 0]);
  });

  test('twins, new ids that may be believed, and named rows are left to the stages', () => {
    const twins = [row(-250, 1, 'CAFE'), row(-250, 1, 'CAFE')];
    assert.equal(splitOf(twins, twins, 'unknown').live.length, 2);
    assert.equal(splitOf(background('a'), background('b'), 'unknown').live.length, 10);
    assert.equal(splitOf(background('a'), background('b'), 'unstable').live.length, 0);
    const hold = pending(-250, 1, 'CAFE', { providerId: 'P' });
    const booked = row(-300, 2, 'CAFE', { providerId: 'B', linkPendingId: 'P' });
    assert.deepEqual(
      splitOf([hold], [hold, booked], 'unknown').live.map(({ providerId }) => providerId),
      ['P'],
    );
  });

  test('an id that occurs twice in the response is no id, even where one of its rows is settled', () => {
    const shown = [row(-250, 1, 'CAFE', { providerId: 'A' }), row(-990, 2, 'LIVRE', { providerId: 'A' })];
    const { repeated, live } = splitOf(shown.slice(0, 1), shown, 'unknown');
    // Content alone settles it: the id agrees, but it is nobody's.
    assert.deepEqual([[...repeated], live.length], [['A'], 0]);
  });

  test('teach about ids', () => {
    let seen = { agreements: 0, disagreements: 0 };
    const learn = (evidence: typeof seen) => {
      seen = evidence;
      return 'unknown' as const;
    };
    const { stored } = look(BLANK, list(background())).memory;
    splitUnchanged(stored, [...background().slice(0, 7), ...background('new').slice(7)], learn);
    assert.deepEqual(seen, { agreements: 7, disagreements: 3 });
  });

  test('that were suspected are so no more, and what else the bank says of them is kept', () => {
    const first = look(BLANK, list([row(-250, 1, 'CAFE'), row(-900, 2, 'LIVRE')]));
    const suspected = first.memory.stored.map((entry) => ({ ...entry, missing: 1, missingAt: NOON }));
    const next = look(
      { ...first.memory, stored: suspected },
      list([row(-250, 1, 'CAFE'), row(-900, 2, 'LIVRE', { counterpartyName: 'Lire' })]),
    );
    assert.equal(counts(next), '0/0/0');
    assert.deepEqual(
      liveRows(next.memory).map(({ missing, counterpartyName }) => [missing, counterpartyName]),
      [
        [0, null],
        [0, 'Lire'],
      ],
    );
    const dated = look(next.memory, list([row(-250, 1, 'CAFE', { valueDate: '2026-03-02' }), row(-900, 2, 'LIVRE')]));
    assert.deepEqual([counts(dated), dated.outcome.updated[0]?.evidence.stage], ['0/1/0', 'content']);
  });

  test('labels made to share a hash are still told apart', () => {
    // Only the first 8 and the last 24 characters are hashed; these differ between them.
    const label = (at: number) => `PAIEMENT ${String(at).padStart(6, '0')} ${'X'.repeat(30)}`;
    const rows = Array.from({ length: 2_000 }, (_, at) => row(-250, 1, label(at)));
    const { settled } = splitOf(rows, rows.toReversed(), 'unknown');
    assert.equal(settled.length, 2_000);
  });
});
