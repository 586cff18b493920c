import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DRIVEN_BANK, drivenBank } from '../../test/support/driven-bank.ts';
import { eachEngine } from '../../test/support/engines.ts';
import { createWorld } from '../../test/support/world.ts';
import type { Connector } from '../connectors/connector.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { claimRefreshes, isClaimed, requestRefresh } from '../items/refreshes.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { CONCURRENT_MAX, startRefreshWorker } from './worker.ts';

const BANK = 574;
const TELLS = 50;
/** A fraction of the five seconds after which a worker that hears nothing asks for itself. */
const TURNS_MAX = 20_000;

/** Whether it comes about without waiting for time to pass. Each turn is a read of ours, so that PostgreSQL has its turns too. */
async function comesAbout(storage: Storage, holds: () => boolean): Promise<boolean> {
  for (let turn = 0; turn < TURNS_MAX && !holds(); turn += 1) await turnOf(storage);
  return holds();
}

async function turnOf(storage: Storage): Promise<void> {
  await storage.first(sql`select one from configuration`);
  await new Promise(setImmediate);
}

eachEngine('a worker that is told what is next', (open) => {
  test('asks nothing itself while there is nothing, and takes at once what it is told of', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    const itemId = await world.connect(BANK, { USER: 'success', PWD: 'any' });
    const refreshed: number[] = [];
    const worker = startRefreshWorker({ ...world.services, onRefreshed: (report) => refreshed.push(report.itemId) });
    t.after(() => worker.stop(0));

    // Its first step frees what a dead one had claimed, and asks itself: it has not been told yet.
    for (let turn = 0; turn < 5; turn += 1) await turnOf(storage);
    const before = storage.counts.statements;
    for (let tell = 0; tell < TELLS; tell += 1) {
      worker.tell(null);
      await turnOf(storage);
    }
    const asked = storage.counts.statements - before - TELLS;
    assert.ok(asked <= 1, `${asked} statements`);

    const item = { id: itemId, applicationId: 'app_test', userUuid: '766b2f5d-a942-492c-9ea7-2e5aa88cb672' };
    const now = world.clock.now();
    await storage.transaction((tx) => requestRefresh(tx, { item, cause: 'api', phase: 'incremental', startedAt: now, runAt: now }));
    worker.tell(now);
    assert.ok(await comesAbout(storage, () => refreshed.includes(itemId)));
  });

  test('asks itself when it is woken, whatever it was told before', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    const itemId = await world.connect(BANK, { USER: 'success', PWD: 'any' });
    const refreshed: number[] = [];
    const worker = startRefreshWorker({ ...world.services, onRefreshed: (report) => refreshed.push(report.itemId) });
    t.after(() => worker.stop(0));
    const item = { id: itemId, applicationId: 'app_test', userUuid: '766b2f5d-a942-492c-9ea7-2e5aa88cb672' };
    const now = world.clock.now();
    await storage.transaction((tx) => requestRefresh(tx, { item, cause: 'api', phase: 'incremental', startedAt: now, runAt: now }));
    worker.wake();
    // News from before the request, which came late.
    worker.tell(null);
    assert.ok(await comesAbout(storage, () => refreshed.includes(itemId)));
  });
});

eachEngine('a backlog, or a bank that hangs', (open) => {
  test('leaves places for those who wait, also for one that joins what is queued', async (t) => {
    const storage = await open(t);
    const bank = drivenBank().connector;
    const { promise: answers, resolve: answer } = Promise.withResolvers<void>();
    const hanging = new Set<number>();
    let asked = 0;
    const connector: Connector = {
      ...bank,
      async authenticate(request, signal) {
        if (hanging.has(request.itemId)) {
          asked += 1;
          await answers;
        }
        return bank.authenticate(request, signal);
      },
    };
    const world = await createWorld(storage, [connector]);
    const items: number[] = [];
    for (let item = 0; item < CONCURRENT_MAX + 2; item += 1) items.push(await world.connect(DRIVEN_BANK, { USER: `${item}` }));
    const [queued, watched] = items.slice(-2) as [number, number];
    const request = (id: number, cause: 'scheduler' | 'api') => {
      const item = { id, applicationId: 'app_test', userUuid: '766b2f5d-a942-492c-9ea7-2e5aa88cb672' };
      const now = world.clock.now();
      return storage.transaction((tx) => requestRefresh(tx, { item, cause, phase: 'incremental', startedAt: now, runAt: now }));
    };
    for (const id of items.slice(0, CONCURRENT_MAX)) {
      hanging.add(id);
      await request(id, 'scheduler');
    }
    const refreshed: number[] = [];
    const worker = startRefreshWorker({ ...world.services, onRefreshed: (report) => refreshed.push(report.itemId) });
    t.after(() => worker.stop(0));
    assert.ok(await comesAbout(storage, () => asked === CONCURRENT_MAX));

    const first = await request(queued, 'scheduler');
    assert.deepEqual(await request(queued, 'api'), { ...first, joined: true });
    await request(watched, 'api');
    worker.wake();
    assert.ok(await comesAbout(storage, () => refreshed.includes(queued) && refreshed.includes(watched)));
    assert.equal(refreshed.length, 2);

    answer();
    assert.ok(await comesAbout(storage, () => refreshed.length === items.length));
  });
});

eachEngine('what a worker had claimed when it died', (open, engine) => {
  test(
    engine === 'sqlite' ? 'runs at once when its server starts again' : 'runs when its claim has ended: another server may have it',
    async (t) => {
      const storage = await open(t);
      const world = await createWorld(storage, [demoBank()]);
      const itemId = await world.connect(BANK, { USER: 'success', PWD: 'any' });
      const item = { id: itemId, applicationId: 'app_test', userUuid: '766b2f5d-a942-492c-9ea7-2e5aa88cb672' };
      const now = world.clock.now();
      await storage.transaction((tx) => requestRefresh(tx, { item, cause: 'api', phase: 'incremental', startedAt: now, runAt: now }));
      const [claimed] = await storage.transaction((tx) => claimRefreshes(tx, storage, { now, leaseMs: 600_000, limit: 1 }));
      const refreshed: number[] = [];
      const worker = startRefreshWorker({ ...world.services, onRefreshed: (report) => refreshed.push(report.itemId) });
      t.after(() => worker.stop(0));
      if (engine === 'postgres') {
        for (let turn = 0; turn < TELLS; turn += 1) await turnOf(storage);
        assert.deepEqual(refreshed, []);
        assert.ok(await isClaimed(storage, claimed!));
        world.clock.advance(600_000);
        worker.wake();
      }
      assert.ok(await comesAbout(storage, () => refreshed.includes(itemId)));
    },
  );
});
