import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BEHAVIOURS } from './bank.ts';
import { simulate } from './simulation.ts';

const SIZE = { days: 40, perDay: 8 };
const SEED = 7;

describe('simulated banks', () => {
  for (const behaviour of BEHAVIOURS) {
    test(`with ${behaviour.name}: every row right after every refresh, and counts that sum`, async () => {
      const tally = await simulate(behaviour, SEED, SIZE);
      assert.ok(tally.payments > 300 && tally.refreshes > 150, `${tally.payments} payments, ${tally.refreshes} refreshes`);
      assert.equal(tally.firstWrong, null);
      const { wrongAfterRefresh, wrongAtEnd, neverAskedFor, wronglyDeleted, wrongCounts } = tally;
      assert.deepEqual([wrongAfterRefresh, wrongAtEnd, neverAskedFor, wronglyDeleted, wrongCounts], [0, 0, 0, 0, 0]);
    });
  }

  test('are hard enough that simple algorithms fail on them', async () => {
    const { simple } = await simulate(BEHAVIOURS.find(({ name }) => name === 'counters that start again')!, SEED, { days: 60, perDay: 10 });
    for (const { name, missing, extra } of simple) assert.ok(missing + extra > 0, name);
  });
});
