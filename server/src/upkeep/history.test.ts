import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS } from '../base/clock.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { forgetRefreshes } from './history.ts';

const NOW = Date.UTC(2026, 2, 2, 8);
const KEPT_DAYS = 400;
/** The sandbox of the second application is a year ahead. */
const AHEAD_MS = 365 * DAY_MS;

async function record(storage: Storage, id: string, item: number, startedAt: number, ended = true): Promise<void> {
  await storage.transaction(async (tx) => {
    await tx.run(sql`
      insert into refreshes (id, item_id, application_id, user_uuid, cause, state, phase, run_at, started_at, finished_at)
      values (${id}, ${item}, 'any', 'any', 'scheduler', 'finished', 'full', 0, ${startedAt}, ${ended ? startedAt : null})`);
    await tx.run(sql`
      insert into changes (refresh_id, account_id, n, transaction_id, kind, stage, evidence) values (${id}, 1, 1, 1, 'new', 'new', '{}')`);
  });
}

async function furnished(storage: Storage): Promise<void> {
  await storage.transaction(async (tx) => {
    for (const [id, offset] of [
      ['now', 0],
      ['ahead', AHEAD_MS],
    ] as const) {
      await tx.run(sql`
        insert into applications (id, name, environment, client_id, client_secret_digest, created_at, clock_offset_ms)
        values (${id}, 'A', 'sandbox', ${id}, 'd', 0, ${offset})`);
      await tx.run(sql`insert into users (uuid, application_id, created_at) values (${id}, ${id}, 0)`);
    }
    for (const [id, application] of [
      [1, 'now'],
      [2, 'now'],
      [3, 'ahead'],
    ] as const)
      await tx.run(sql`
        insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, created_at)
        values (${id}, ${application}, ${application}, 574, 0, 'k', 0)`);
  });
}

const services = (storage: Storage) => ({ storage, historyDays: KEPT_DAYS, pause: async () => {}, mayGoOn: () => true });

async function left(storage: Storage): Promise<string[]> {
  const rows = await storage.all<{ id: string }>(sql`select refresh_id as id from changes order by refresh_id`);
  const records = await storage.all<{ id: string }>(sql`select id from refreshes order by id`);
  assert.deepEqual(rows, records);
  return records.map(({ id }) => id);
}

eachEngine('the history of refreshes', (open) => {
  test('ends after its days in the application’s time, but for the newest record of an item and one that runs', async (t) => {
    const storage = await open(t);
    await furnished(storage);
    const days = (count: number) => NOW - count * DAY_MS;
    await record(storage, '1 old', 1, days(401));
    await record(storage, '1 young', 1, days(399));
    await record(storage, '2 oldest', 2, days(900));
    await record(storage, '2 newest, old too', 2, days(800));
    await record(storage, '3 old by its clock', 3, days(36));
    await record(storage, '3 young by its clock', 3, days(34));
    await record(storage, '3 runs', 3, days(40), false);

    assert.deepEqual(await forgetRefreshes(services(storage), 0, NOW), { afterItem: 0, deleted: 3 });
    assert.deepEqual(await left(storage), ['1 young', '2 newest, old too', '3 runs', '3 young by its clock']);
    assert.deepEqual(await forgetRefreshes(services(storage), 0, NOW), { afterItem: 0, deleted: 0 });
  });

  test('goes on where it stopped, by steps, and stops when it is told to', async (t) => {
    const storage = await open(t);
    await furnished(storage);
    for (let at = 0; at < 250; at += 1) await record(storage, `old ${at}`, 1, NOW - (900 + at) * DAY_MS);
    await record(storage, 'young', 1, NOW);
    let pauses = 0;
    const pause = async () => {
      pauses += 1;
    };
    const stopping = { ...services(storage), mayGoOn: () => pauses < 1, pause };
    assert.equal((await forgetRefreshes(stopping, 0, NOW)).deleted, 200);
    assert.equal((await forgetRefreshes(services(storage), 0, NOW)).deleted, 50);
    assert.deepEqual(await left(storage), ['young']);
    assert.deepEqual(await forgetRefreshes(services(storage), 3, NOW), { afterItem: 0, deleted: 0 });
  });
});
