/** Every preset is played through the whole refresh, and what it expects is what happens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { playScenario } from '../../src/cli/scenario-play.ts';
import { createScenarios } from '../../src/connectors/sandbox/scenarios/library.ts';
import { openStorage } from '../../src/storage/open.ts';
import { ENGINES, freshTarget } from '../support/engines.ts';

const scenarios = createScenarios(null);

test('every preset ships', () => {
  assert.deepEqual(scenarios.names(), [
    ...['bank-down', 'deferred-card', 'empty-200', 'expiring-consent', 'flapping', 'iban-twins', 'label-drift'],
    ...['re-minting', 'renumbering', 'slow-bank', 'tip-and-fuel', 'truncating', 'twin-coffee', 'vanishing-account'],
  ]);
});

for (const engine of ENGINES) {
  for (const name of scenarios.names()) {
    test(`${name} happens as it says on ${engine}`, async (t) => {
      const scenario = (await scenarios.find(name))!;
      const storage = openStorage(await freshTarget(engine, t));
      t.after(() => storage.close());
      const { days } = await playScenario(storage, scenario);
      assert.ok(scenario.expect && scenario.expect.size > 1);
      assert.deepEqual(
        days.map(({ day, events }) => ({ day, events })),
        days.map(({ day, expected }) => ({ day, events: expected })),
      );
    });
  }
}

test('a run comes out the same at any time of day', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 1, 3, 19) });
  const storage = openStorage(await freshTarget('sqlite', t));
  t.after(() => storage.close());
  const { asExpected } = await playScenario(storage, (await scenarios.find('empty-200'))!);
  assert.equal(asExpected, true);
});
