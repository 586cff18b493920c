import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { HOUR_MS } from '../base/clock.ts';
import { HEALTHY } from '../delivery/channels/health.ts';
import { readHealth, writeHealth } from '../delivery/channels/health-store.ts';
import { laneOf, readLane } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { watchSilence } from './silence.ts';
import { APPLICATION, append, createApplication, deliver, endpoint, everything } from './testing.ts';

const NOW = 1_700_000_000_000;

async function listening(storage: Storage): Promise<void> {
  await createApplication(storage);
  await endpoint(storage, 'wh_quiet');
  await endpoint(storage, 'wh_whatever');
  await storage.transaction((tx) =>
    tx.run(sql`update endpoints set silent_after_ms = ${6 * HOUR_MS}, updated_at = ${NOW} where id = 'wh_quiet'`),
  );
}

/** A refresh that ended at this time, as the log shows it. */
async function refresh(storage: Storage, at: number): Promise<void> {
  await append(storage, [1], at);
  await storage.transaction((tx) => tx.run(sql`update events set type = 'item.refreshed' where committed_at = ${at}`));
}

const told = async (storage: Storage) =>
  (await readLane(storage, laneOf(`application:${APPLICATION}`), 0, 100))
    .filter(({ type }) => type === 'pontage.endpoint.silent')
    .map(({ aboutEndpointId, content }) => [
      aboutEndpointId,
      (JSON.parse(content) as { last_delivered_at: number | null }).last_delivered_at,
    ]);

eachEngine('silence', (open) => {
  test('is told once, and again only after something was delivered', async (t) => {
    const storage = await open(t);
    await listening(storage);
    await refresh(storage, NOW + 5 * HOUR_MS);
    assert.equal(await watchSilence(storage, NOW + 6 * HOUR_MS - 1), 0, 'its six hours are not over');
    assert.equal(await watchSilence(storage, NOW + 6 * HOUR_MS), 1);
    assert.equal(await watchSilence(storage, NOW + 7 * HOUR_MS), 0);
    assert.deepEqual(await told(storage), [['wh_quiet', null]]);
    const delivered = (await everything(storage)).map((event) => ({ ...event, committedAt: NOW + 8 * HOUR_MS }));
    await deliver(storage, delivered, 'wh_quiet');
    assert.equal(await watchSilence(storage, NOW + 9 * HOUR_MS), 0);
    await refresh(storage, NOW + 13 * HOUR_MS);
    assert.equal(await watchSilence(storage, NOW + 14 * HOUR_MS), 1);
    assert.deepEqual(await told(storage), [
      ['wh_quiet', null],
      ['wh_quiet', NOW + 8 * HOUR_MS],
    ]);
  });

  test('without refreshes nobody is silent, and a disabled webhook is not either', async (t) => {
    const storage = await open(t);
    await listening(storage);
    await append(storage, [1], NOW + 5 * HOUR_MS);
    await refresh(storage, NOW - 1);
    assert.equal(await watchSilence(storage, NOW + 6 * HOUR_MS), 0);
    await refresh(storage, NOW + 7 * HOUR_MS);
    await storage.transaction((tx) => tx.run(sql`update endpoints set enabled = 0`));
    assert.equal(await watchSilence(storage, NOW + 8 * HOUR_MS), 0);
    await storage.transaction((tx) => tx.run(sql`update endpoints set enabled = 1`));
    assert.equal(await watchSilence(storage, NOW + 8 * HOUR_MS), 1);
  });

  test('shares the row of health with the deliveries, whoever writes first', async (t) => {
    const storage = await open(t);
    await listening(storage);
    await refresh(storage, NOW + HOUR_MS);
    assert.equal(await watchSilence(storage, NOW + 6 * HOUR_MS), 1);
    const { health, revision } = await readHealth(storage, 'wh_quiet');
    assert.deepEqual(health, HEALTHY);
    assert.equal(await storage.transaction((tx) => writeHealth(tx, 'wh_quiet', { ...HEALTHY, lastFailureAt: 5 }, 0)), false);
    assert.equal(await storage.transaction((tx) => writeHealth(tx, 'wh_quiet', { ...HEALTHY, lastFailureAt: 5 }, revision)), true);
    const row = await storage.first<{ silent_since: number }>(sql`select silent_since from endpoint_health`);
    assert.equal(row?.silent_since, NOW + 6 * HOUR_MS);
  });

  test('two nodes tell it once', async (t) => {
    const storage = await open(t);
    await listening(storage);
    await refresh(storage, NOW + HOUR_MS);
    const found = await Promise.all([1, 2, 3].map(() => watchSilence(storage, NOW + 6 * HOUR_MS)));
    assert.equal(
      found.reduce((sum, count) => sum + count, 0),
      1,
    );
    assert.equal((await told(storage)).length, 1);
  });
});
