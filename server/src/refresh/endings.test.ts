/** Runs that end together: each commits, fails, or is fenced off as if it had been alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine, openEngine } from '../../test/support/engines.ts';
import { APPLICATION, createWorld, START, type World } from '../../test/support/world.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { claimRefreshes, findRefresh, finishRefreshes, type Refresh } from '../items/refreshes.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { refreshItem } from './connection.ts';
import { createEndings, type Ending } from './endings.ts';

const DEMO = 574;

/** `count` connected items of as many users but for the last two, which share one; each with a refresh that is claimed. */
async function claimed(world: World, count: number): Promise<Refresh[]> {
  const { storage, clock } = world.services;
  const itemIds: number[] = [];
  for (let item = 0; item < count; item += 1) {
    const itemId = await world.connect(DEMO, { USER: 'success', PWD: 'any' });
    itemIds.push(itemId);
    if (item < count - 2) {
      const uuid = `00000000-0000-4000-8000-${String(item).padStart(12, '0')}`;
      await storage.transaction(async (tx) => {
        await tx.run(sql`insert into users (uuid, application_id, created_at) values (${uuid}, ${APPLICATION}, ${START})`);
        await tx.run(sql`update items set user_uuid = ${uuid} where id = ${itemId}`);
      });
    }
  }
  for (const itemId of itemIds) await refreshItem(world.services, itemId, 'api');
  const refreshes = await storage.transaction((tx) => claimRefreshes(tx, storage, { now: clock.now(), leaseMs: 60_000, limit: count }));
  return refreshes.sort((a, b) => a.itemId - b.itemId);
}

function ending(refresh: Refresh, ...alone: Ending['alone']): Ending {
  const { id, epoch, itemId, userUuid } = refresh;
  return {
    finished: {
      ...{ id, epoch, state: 'finished', status: 0, statusCodeInfo: 'OK', fullRefresh: false, refreshed: 1, total: 1 },
      ...{ record: '{}', traceparent: `trace of ${id}`, finishedAt: START + 1 },
    },
    userUuid,
    now: START + 1,
    origin: { applicationId: APPLICATION, refreshId: id, committedAt: START + 2 },
    drafts: [{ type: 'item.refreshed', itemId, userUuid, fullRefresh: false, statusCode: 0, statusCodeInfo: 'OK' }],
    item: {
      ...{
        id: itemId,
        status: 0,
        statusCodeInfo: 'OK',
        connected: true,
        historyComplete: true,
        fullRefreshWanted: false,
        keepsFullWish: true,
      },
      ...{ connectorState: null, dueAt: START + itemId, schedule: '{}', consentExpiresAt: null, refreshedAt: START + 1 },
      refreshes: 1,
    },
    rowsAt: () => ({ accounts: [], transactions: [], changes: [] }),
    onlySome: false,
    alone,
    rows: 1,
  };
}

async function refreshedBy(world: World, refreshes: readonly Refresh[]): Promise<string[]> {
  const events = await world.events();
  return refreshes.filter(({ id }) => events.some(({ refreshId }) => refreshId === id)).map(({ id }) => id);
}

/** Until a session of the database waits for a lock. */
async function comesToWait(storage: Storage): Promise<void> {
  const waiting = () =>
    storage.first(sql`select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`);
  while ((await waiting()) === undefined);
}

/** `runs`: how often work was begun, again after a deadlock too. */
function countingTransactions(storage: Storage): { storage: Storage; transactions: () => number; runs: () => number } {
  let count = 0;
  let runs = 0;
  const transaction: Storage['transaction'] = (work, options) => {
    count += 1;
    return storage.transaction((tx) => {
      runs += 1;
      return work(tx);
    }, options);
  };
  return { storage: { ...storage, transaction }, transactions: () => count, runs: () => runs };
}

eachEngine('endings', (open) => {
  test('that come together are committed together, each whole, those of one user one after another', async (t) => {
    const world = await createWorld(await open(t), [demoBank({ latencyMs: 0 })]);
    const refreshes = await claimed(world, 5);
    const counting = countingTransactions(world.services.storage);
    const endings = createEndings(counting.storage);
    const committed = await Promise.all(refreshes.map((refresh) => endings.commit(ending(refresh))));
    assert.deepEqual(committed, [true, true, true, true, true]);
    assert.equal(counting.transactions(), 2);

    const events = (await world.events()).filter(({ refreshId }) => refreshes.some(({ id }) => id === refreshId));
    assert.equal(events.length, 5);
    for (const refresh of refreshes) {
      const { storage } = world.services;
      const event = events.find(({ refreshId }) => refreshId === refresh.id)!;
      assert.deepEqual([event.itemId, event.userUuid], [refresh.itemId, refresh.userUuid]);
      const record = await findRefresh(storage, refresh.id);
      assert.deepEqual([record!.state, record!.finishedAt], ['finished', START + 1]);
      const item = await storage.first<{ due_at: number; accounts_updated_at: number; refresh_count: number }>(
        sql`select due_at, accounts_updated_at, refresh_count from items where id = ${refresh.itemId}`,
      );
      assert.deepEqual([item!.due_at, item!.accounts_updated_at], [START + refresh.itemId, event.timestamp]);
    }
    const [one, other] = events.filter(({ userUuid }) => userUuid === refreshes.at(-1)!.userUuid);
    assert.notEqual(one!.timestamp, other!.timestamp);
  });

  test('of which one fails take only that one back', async (t) => {
    const world = await createWorld(await open(t), [demoBank({ latencyMs: 0 })]);
    const refreshes = await claimed(world, 4);
    const endings = createEndings(world.services.storage);
    const results = await Promise.allSettled(
      refreshes.map((refresh, at) =>
        endings.commit(
          ending(refresh, async (tx) => {
            if (at === 1) await tx.run(sql`insert into users (uuid, application_id, created_at) values (${refresh.userUuid}, 'none', 0)`);
          }),
        ),
      ),
    );
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
    );
    assert.deepEqual(
      await refreshedBy(world, refreshes),
      [0, 2, 3].map((at) => refreshes[at]!.id),
    );
    assert.equal((await findRefresh(world.services.storage, refreshes[1]!.id))!.finishedAt, null);
  });

  test('of which one is fenced off write nothing of it, and the others whole', async (t) => {
    const world = await createWorld(await open(t), [demoBank({ latencyMs: 0 })]);
    const refreshes = await claimed(world, 4);
    const endings = createEndings(world.services.storage);
    let written = 0;
    const count = async () => {
      written += 1;
    };
    const committed = await Promise.all(
      refreshes.map((refresh, at) => endings.commit(ending({ ...refresh, epoch: refresh.epoch - (at === 2 ? 1 : 0) }, count))),
    );
    assert.deepEqual(committed, [true, true, false, true]);
    assert.equal(written, 3);
    assert.deepEqual(
      await refreshedBy(world, refreshes),
      [0, 1, 3].map((at) => refreshes[at]!.id),
    );
  });

  test('are sent in groups of a bounded number of rows', async (t) => {
    const world = await createWorld(await open(t), [demoBank({ latencyMs: 0 })]);
    const refreshes = await claimed(world, 3);
    const counting = countingTransactions(world.services.storage);
    const endings = createEndings(counting.storage);
    await Promise.all(refreshes.slice(0, 2).map((refresh) => endings.commit({ ...ending(refresh), rows: 600 })));
    assert.equal(counting.transactions(), 2);
    await endings.commit({ ...ending(refreshes[2]!), rows: 100_000 });
    assert.equal(counting.transactions(), 3);
  });
});

test('on PostgreSQL a refresh that is asked for while one ends waits for it, without a deadlock', async (t) => {
  const storage = await openEngine('postgres', t);
  const world = await createWorld(storage, [demoBank({ latencyMs: 0 })]);
  const [refresh] = await claimed(world, 1);
  const { finished } = ending(refresh!);
  const counting = countingTransactions(storage);
  let asked: ReturnType<typeof refreshItem> | undefined;
  await storage.transaction(async (tx) => {
    await finishRefreshes(tx, [finished]);
    asked = refreshItem({ ...world.services, storage: counting.storage }, refresh!.itemId, 'api');
    await comesToWait(storage);
    await tx.run(sql`update items set status = 0 where id = ${refresh!.itemId}`);
  });
  assert.equal((await asked)?.joined, false);
  assert.equal(counting.runs(), 1, 'nobody was taken back to resolve a deadlock');
});
