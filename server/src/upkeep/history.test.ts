import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { APPLICATION, createWorld } from '../../test/support/world.ts';
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { findReplayByKey } from '../delivery/replay/replays.ts';
import { LANES } from '../events/log.ts';
import { advanceClock } from '../refresh/test-clock/test-clock.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { forgetHours, forgetRefreshes, forgetReplays } from './history.ts';

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
    await tx.run(sql`update segments set opened_at = ${NOW}`);
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

  test('keeps replays that have not ended, however old, and the keys of those that are kept', async (t) => {
    const storage = await open(t);
    const days = (count: number) => NOW - count * DAY_MS;
    const replay = (id: string, state: string, createdAt: number, finishedAt: number | null) =>
      storage.transaction(async (tx) => {
        await tx.run(sql`
          insert into replays (id, application_id, endpoint_id, kind, filter, state, total, idempotency_key, created_at, finished_at)
          values (${id}, 'app', 'wh', 'range', '{"kind":"range"}', ${state}, 0, ${`key of ${id}`}, ${createdAt}, ${finishedAt})`);
        for (let lane = 0; lane < LANES; lane += 1)
          await tx.run(sql`insert into replay_positions (replay_id, lane, position, through_seq) values (${id}, ${lane}, 0, 1)`);
      });
    for (let each = 0; each < 7; each += 1) await replay(`done ${each}`, 'done', days(900), days(401 + each));
    await replay('cancelled', 'cancelled', days(900), days(401));
    await replay('done late', 'done', days(900), days(399));
    await replay('paused', 'paused', days(900), null);
    await replay('running', 'running', days(900), null);

    let steps = 0;
    assert.equal(await forgetReplays({ ...services(storage), mayGoOn: () => steps++ < 1 }, NOW), 3, 'one step');
    assert.equal(await forgetReplays(services(storage), NOW), 5);
    const kept = ['done late', 'paused', 'running'];
    const left = await storage.all<{ id: string }>(sql`select id from replays order by id`);
    assert.deepEqual(
      left.map(({ id }) => id),
      kept,
    );
    const positions = await storage.all<{ id: string; lanes: number }>(
      sql`select replay_id as id, count(*) as lanes from replay_positions group by replay_id order by replay_id`,
    );
    assert.deepEqual(
      positions,
      kept.map((id) => ({ id, lanes: LANES })),
    );
    assert.equal((await findReplayByKey(storage, 'app', 'key of done late'))?.id, 'done late');
    assert.equal(await findReplayByKey(storage, 'app', 'key of cancelled'), null);
    assert.equal(await forgetReplays(services(storage), NOW), 0);
  });

  test('keeps the hours of the audit as long', async (t) => {
    const storage = await open(t);
    const oldest = (NOW - KEPT_DAYS * DAY_MS) / HOUR_MS;
    const hours = (from: number, count: number) => Array.from({ length: count }, (_, index) => ['wh', from + index, 1, 1, 0, 0, 0, 0]);
    await storage.transaction((tx) =>
      tx.insertMany(
        'audited_hours',
        ['endpoint_id', 'hour', 'matched', 'delivered', 'dead', 'skipped', 'expired', 'erased'],
        hours(oldest - 450, 460),
      ),
    );
    let steps = 0;
    assert.equal(await forgetHours({ ...services(storage), mayGoOn: () => steps++ < 1 }, NOW), 200, 'one step');
    assert.equal(await forgetHours(services(storage), NOW), 250);
    assert.deepEqual(await storage.first(sql`select min(hour) as first, count(*) as count from audited_hours`), {
      first: oldest,
      count: 10,
    });
  });

  test('is kept, however far a test clock has gone, as long as the log has the events that count it', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    await world.connect(574, { USER: 'success', PWD: 'any' });
    const counted = async () => {
      const contents = (await world.events()).map(({ content }) => JSON.parse(content) as Record<string, number>);
      return contents.reduce(
        (sum, { nb_new_transactions: added = 0, nb_updated_transactions: updated = 0, nb_deleted_transactions: deleted = 0 }) =>
          sum + added + updated + deleted,
        0,
      );
    };
    const told = async () => (await storage.first<{ count: number }>(sql`select count(*) as count from changes`))!.count;
    const first = await told();
    const target = { byMs: 401 * DAY_MS };
    // Asked for at once, so that the newest record, which is always kept, is another.
    await storage.transaction((tx) => tx.run(sql`update items set due_at = null`));
    await advanceClock(world.services, APPLICATION, target, { signal: new AbortController().signal });
    await storage.transaction((tx) => tx.run(sql`update items set due_at = ${world.clock.now()}`));
    await world.run();
    assert.ok(first > 0 && (await counted()) === (await told()));

    assert.equal((await forgetRefreshes(services(storage), 0, world.clock.now())).deleted, 0);
    assert.equal(await told(), await counted());
    // Retention has taken the segment with their events.
    await storage.transaction((tx) => tx.run(sql`update segments set opened_at = ${world.clock.now() + 2 * DAY_MS}`));
    assert.ok((await forgetRefreshes(services(storage), 0, world.clock.now())).deleted > 0);
    assert.ok((await told()) < (await counted()));
  });
});
