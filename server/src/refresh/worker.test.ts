import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { createWorld } from '../../test/support/world.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { requestRefresh } from '../items/refreshes.ts';
import { startRefreshWorker } from './worker.ts';

const BANK = 574;
const ROUNDS = 50;

eachEngine('a worker that is told what is next', (open) => {
  test('asks nothing itself while there is nothing, and takes at once what it is told of', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    const itemId = await world.connect(BANK, { USER: 'success', PWD: 'any' });
    const refreshed = Promise.withResolvers<number>();
    const worker = startRefreshWorker({ ...world.services, onRefreshed: (report) => refreshed.resolve(report.itemId) });
    t.after(() => worker.stop(0));

    // A read of our own, after those that the worker's first step has begun with.
    while (storage.counts.statements < 1) await new Promise(setImmediate);
    const before = storage.counts.statements;
    for (let round = 0; round < ROUNDS; round += 1) {
      worker.tell(null);
      await new Promise(setImmediate);
    }
    assert.ok(storage.counts.statements - before <= 1, `${storage.counts.statements - before} statements`);

    const item = { id: itemId, applicationId: 'app_test', userUuid: '766b2f5d-a942-492c-9ea7-2e5aa88cb672' };
    const now = world.clock.now();
    await storage.transaction((tx) => requestRefresh(tx, { item, cause: 'api', phase: 'incremental', startedAt: now, runAt: now }));
    worker.tell(now);
    assert.equal(await refreshed.promise, itemId);
  });

  test('asks itself when it is woken, whatever it was told before', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    const itemId = await world.connect(BANK, { USER: 'success', PWD: 'any' });
    const refreshed = Promise.withResolvers<number>();
    const worker = startRefreshWorker({ ...world.services, onRefreshed: (report) => refreshed.resolve(report.itemId) });
    t.after(() => worker.stop(0));
    const item = { id: itemId, applicationId: 'app_test', userUuid: '766b2f5d-a942-492c-9ea7-2e5aa88cb672' };
    const now = world.clock.now();
    await storage.transaction((tx) => requestRefresh(tx, { item, cause: 'api', phase: 'incremental', startedAt: now, runAt: now }));
    worker.wake();
    // News from before the request, which came late.
    worker.tell(null);
    assert.equal(await refreshed.promise, itemId);
  });
});
