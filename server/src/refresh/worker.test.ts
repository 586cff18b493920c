import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DRIVEN_BANK, drivenBank } from '../../test/support/driven-bank.ts';
import { eachEngine } from '../../test/support/engines.ts';
import { APPLICATION, createWorld, USER, type World } from '../../test/support/world.ts';
import { randomId } from '../base/random.ts';
import type { Connector } from '../connectors/connector.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { createLeases } from '../delivery/lanes/lease.ts';
import { claimRefreshes, freeOrphans, isClaimed, nextWork, nextWorkAt, ORPHANED_AT, requestRefresh } from '../items/refreshes.ts';
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
    engine === 'sqlite' ? 'runs at once when its server starts again' : 'runs when its claim has ended, where it was no node’s',
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

/** A node with a worker, on a monotonic clock that only the test moves; `ask` stands between it and its bank. */
function startNode(world: World, id: string, ask: () => Promise<void> = async () => {}) {
  const { services } = world;
  const life = randomId('life');
  let monotonicMs = 0;
  const refreshed: number[] = [];
  const fenced: unknown[] = [];
  const connector = (bankId: number) => {
    const bank = services.connector(bankId);
    const authenticate: Connector['authenticate'] = async (request, signal) => {
      await ask();
      return bank!.authenticate(request, signal);
    };
    return bank && { ...bank, authenticate };
  };
  const worker = startRefreshWorker({
    ...{ ...services, connector, claimant: life },
    log: { ...services.log, info: (fields: Record<string, unknown>) => void (fields.fenced_off === true && fenced.push(fields.refresh)) },
    onRefreshed: ({ itemId }) => refreshed.push(itemId),
  });
  const leases = createLeases({
    ...{ storage: services.storage, owner: id, life, monotonicMs: () => monotonicMs },
    passengers: [{ moment: nextWork, seen: worker.tell }],
  });
  return {
    ...{ life, refreshed, fenced, worker, leases },
    async beat(afterMs = 0) {
      monotonicMs += afterMs;
      await leases.renew();
      await leases.acquire();
    },
  };
}

async function dueRefresh({ services: { storage }, clock }: World, itemId: number): Promise<string> {
  const item = { id: itemId, applicationId: APPLICATION, userUuid: USER };
  const now = clock.now();
  const request = { item, cause: 'api', phase: 'incremental', startedAt: now, runAt: now } as const;
  return (await storage.transaction((tx) => requestRefresh(tx, request))).id;
}

eachEngine('what a node had claimed', (open, engine) => {
  test('runs on another one that has found it dead, and its own late end is fenced off', { skip: engine === 'sqlite' }, async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    const itemId = await world.connect(BANK, { USER: 'success', PWD: 'any' });
    const told = (await world.events()).length;
    const asked = Promise.withResolvers<void>();
    const answers = Promise.withResolvers<void>();
    const one = startNode(world, 'node_one', () => {
      asked.resolve();
      return answers.promise;
    });
    const two = startNode(world, 'node_two');
    t.after(() => Promise.all([one, two].map(({ worker, leases }) => Promise.all([worker.stop(0), leases.abandon()]))));
    await one.beat();
    const refreshId = await dueRefresh(world, itemId);
    await one.beat();
    await asked.promise;
    for (let beats = 0; beats < 4; beats += 1) {
      await two.beat(1_200);
      await one.beat(1_200);
    }
    const claimedBy = async () =>
      (await storage.first<{ claimed_by: string }>(sql`select claimed_by from refreshes where id = ${refreshId}`))!.claimed_by;
    assert.equal(await claimedBy(), one.life, 'a node that beats keeps what it has');

    // It stands still, its session too; after six seconds nobody waits for it any more.
    for (let beats = 0; beats < 5; beats += 1) await two.beat(1_200);
    assert.equal(await claimedBy(), one.life);
    for (let beats = 0; beats < 2; beats += 1) await two.beat(1_200);
    assert.ok(await comesAbout(storage, () => two.refreshed.includes(itemId)), 'within ten seconds, of a lease of ten minutes');
    answers.resolve();
    assert.ok(await comesAbout(storage, () => one.fenced.includes(refreshId)));
    assert.deepEqual(one.refreshed, []);
    assert.deepEqual((await world.events()).slice(told).filter(({ type }) => type === 'item.refreshed').length, 1);
  });

  test('is free when it is started again', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    const itemId = await world.connect(BANK, { USER: 'success', PWD: 'any' });
    await dueRefresh(world, itemId);
    const now = world.clock.now();
    const leasesOf = (life: string) => createLeases({ storage, owner: 'node_one', life, monotonicMs: () => 0 });
    const killed = leasesOf('life_before');
    await killed.renew();
    const options = { now, leaseMs: 600_000, limit: 1, claimant: 'life_before' };
    await storage.transaction((tx) => claimRefreshes(tx, storage, options));
    assert.equal(await nextWorkAt(storage), now + 600_000);
    assert.equal(await storage.transaction((tx) => freeOrphans(tx, storage, now)), 0);
    await killed.abandon();
    const started = leasesOf('life_after');
    t.after(() => started.abandon());
    await started.renew();
    assert.equal(await nextWorkAt(storage), ORPHANED_AT);
    assert.equal(await storage.transaction((tx) => freeOrphans(tx, storage, now)), 1);
    assert.equal(await nextWorkAt(storage), now);
  });

  test('is nobody’s before it takes part, so it claims nothing before its first heartbeat', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    const itemId = await world.connect(BANK, { USER: 'success', PWD: 'any' });
    const refreshId = await dueRefresh(world, itemId);
    const node = startNode(world, 'node_one');
    t.after(() => Promise.all([node.worker.stop(0), node.leases.abandon()]));
    node.worker.wake();
    for (let turn = 0; turn < TELLS; turn += 1) await turnOf(storage);
    assert.deepEqual(await storage.first(sql`select running, state from refreshes where id = ${refreshId}`), {
      running: 0,
      state: 'authenticating',
    });
    await node.beat();
    assert.ok(await comesAbout(storage, () => node.refreshed.includes(itemId)));

    const { id } = await storage.transaction(async (tx) => {
      await tx.run(sql`delete from nodes`);
      const request = { item: { id: itemId, applicationId: APPLICATION, userUuid: USER }, cause: 'api', phase: 'incremental' } as const;
      return requestRefresh(tx, { ...request, startedAt: world.clock.now(), runAt: world.clock.now() + 1 });
    });
    const options = { now: world.clock.now() + 1, leaseMs: 600_000, limit: 1, claimant: node.life };
    const [claimed] = await storage.transaction((tx) => claimRefreshes(tx, storage, options));
    assert.equal(claimed!.id, id);
    assert.notEqual(await nextWorkAt(storage), ORPHANED_AT, 'one that others have taken out is not freed by each of them at once');
  });
});
