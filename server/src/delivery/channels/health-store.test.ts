import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { MINUTE_MS, SECOND_MS } from '../../base/clock.ts';
import type { Storage } from '../../storage/storage.ts';
import { claimProbe, FAILURES_TO_OPEN, HEALTHY, type Health, observe, recover } from './health.ts';
import { readAllHealth, readHealth, type StoredHealth, UNWRITTEN, writeHealth } from './health-store.ts';

const START = 1_700_000_000_000;
const write = (storage: Storage, { health, revision }: Omit<StoredHealth, 'forgivenVersion'>) =>
  storage.transaction((tx) => writeHealth(tx, 'wh_one', health, revision));

function failing(count: number, health: Health = HEALTHY): Health {
  let failed = health;
  for (let index = 0; index < count; index += 1) failed = observe(failed, { kind: 'failure' }, false, START + index).health;
  return failed;
}

eachEngine('health of endpoints', (open) => {
  test('every state is read as it was written', async (t) => {
    const storage = await open(t);
    const opened = failing(FAILURES_TO_OPEN);
    const probed = observe(opened, { kind: 'failure' }, true, START + MINUTE_MS).health;
    const halfOpen = observe(probed, { kind: 'success' }, true, START + 2 * MINUTE_MS).health;
    const paused = observe(halfOpen, { kind: 'throttled', retryAfterMs: 90 * SECOND_MS }, false, START + 3 * MINUTE_MS).health;
    const vouchedFor: Health = { ...paused, circuit: { state: 'half_open', since: START, failures: 2, answered: false } };
    const states = [
      failing(3),
      opened,
      claimProbe(opened, START + MINUTE_MS)!,
      probed,
      halfOpen,
      paused,
      recover(paused).health,
      vouchedFor,
      HEALTHY,
    ];
    assert.deepEqual(await readHealth(storage, 'wh_one'), UNWRITTEN);
    for (const [revision, health] of states.entries()) {
      assert.equal(await write(storage, { health, revision }), true);
      assert.deepEqual(await readHealth(storage, 'wh_one'), { health, revision: revision + 1, forgivenVersion: 0 });
    }
    assert.deepEqual([...(await readAllHealth(storage)).keys()], ['wh_one']);
  });

  test('of two writers that saw the same row one wins, and the other sees what it wrote', async (t) => {
    const storage = await open(t);
    for (const revision of [0, 1, 2]) {
      const before = await readHealth(storage, 'wh_one');
      assert.equal(before.revision, revision);
      const wishes = [failing(FAILURES_TO_OPEN + revision), failing(FAILURES_TO_OPEN + revision + 1)];
      const wrote = await Promise.all(wishes.map((health) => write(storage, { health, revision })));
      assert.deepEqual([...wrote].sort(), [false, true]);
      assert.deepEqual(await readHealth(storage, 'wh_one'), {
        health: wishes[wrote.indexOf(true)],
        revision: revision + 1,
        forgivenVersion: 0,
      });
    }
  });

  test('one probe is claimed by one of many nodes', async (t) => {
    const storage = await open(t);
    await write(storage, { health: failing(FAILURES_TO_OPEN), revision: 0 });
    const claims = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const { health, revision } = await readHealth(storage, 'wh_one');
        const claimed = claimProbe(health, START + MINUTE_MS);
        return claimed !== null && (await write(storage, { health: claimed, revision }));
      }),
    );
    assert.equal(claims.filter(Boolean).length, 1);
  });
});
