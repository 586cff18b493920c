import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { explaining, measuring } from '../../../test/support/explain.ts';
import { deleteEndpoint, updateEndpoint } from '../../endpoints/endpoints.ts';
import { sql } from '../../storage/sql.ts';
import { listDeliveries } from '../attempts/deliveries.ts';
import { audit } from '../audit/audit.ts';
import { createWorld, POLICY, type Running, startReceiver, type World } from '../testing.ts';
import { progressOf, progressOfAll } from './progress.ts';
import {
  createReplay,
  findReplay,
  findReplayByKey,
  listReplays,
  moveReplay,
  openReplays,
  type Replay,
  type ReplayFilter,
  readWork,
} from './replays.ts';
import { countSelected, readSelected } from './selection.ts';

const EVERYTHING: ReplayFilter = { kind: 'range', since: null, until: null, types: null, itemIds: null, outcome: null };
const ITEMS = Array.from({ length: 40 }, (_, index) => index + 1);

async function replay(world: World, endpointId: string, filter: ReplayFilter, ratePerS = 1_000): Promise<Replay> {
  const { storage, applicationId, clock } = world;
  const { total, ranges } = await countSelected(storage, { applicationId, endpointId, filter });
  const made = await createReplay(storage, { applicationId, endpointId, filter, ratePerS, total }, ranges, clock.now());
  return made!;
}

/** Beats until it is so. */
async function until(node: Running, isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (let beats = 0; !(await isSo()); beats += 1) {
    assert.ok(beats < 5_000, 'it does not come about');
    await node.tick();
    await new Promise(setImmediate);
  }
}

async function finish(world: World, node: Running, { id }: Replay) {
  await until(node, async () => (await findReplay(world.storage, id))?.state === 'done');
  return progressOf(world.storage, (await findReplay(world.storage, id))!);
}

eachEngine('replays', (open, engine) => {
  test('a range goes to an endpoint that is newer than its events, each event once, with the same bytes', async (t) => {
    const world = await createWorld(await open(t), t);
    const first = await startReceiver(t);
    await world.endpoint(first.url);
    await world.append(ITEMS);
    const node = await world.start();
    await node.settled(ITEMS.length);
    const second = await startReceiver(t);
    const { endpoint } = await world.endpoint(second.url);
    const made = await replay(world, endpoint.id, EVERYTHING);
    assert.deepEqual([made.state, made.total], ['running', ITEMS.length]);
    const progress = await finish(world, node, made);
    assert.deepEqual(progress, { sent: 40, delivered: 40, failed: 0, retrying: 0 });
    assert.deepEqual(second.seqs(), first.seqs());
    const bodies = (received: typeof first.received) => received.map(({ body }) => body).sort();
    assert.deepEqual(bodies(second.received), bodies(first.received));
    const attempts = await world.storage.all<{ source: string; replay_id: string }>(
      sql`select distinct source, replay_id from attempts where endpoint_id = ${endpoint.id}`,
    );
    assert.deepEqual(attempts, [{ source: 'replay', replay_id: made.id }]);
    const told = node.reports.filter(({ endpointId }) => endpointId === endpoint.id);
    assert.equal(told.length, ITEMS.length);
    assert.ok(told.every(({ source, n, failure, next }) => source === 'replay' && n === 1 && failure === null && next === null));
    assert.equal(node.stats().delivered, ITEMS.length, 'what the log owed, and not what was sent again');
    assert.equal(first.received.length, ITEMS.length);
  });

  test('one that was not counted to its end has its total when it is done', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.append(ITEMS);
    const { endpoint } = await world.endpoint(receiver.url);
    const asked = { applicationId: world.applicationId, endpointId: endpoint.id, filter: EVERYTHING };
    const { total, atLeast, ranges } = await countSelected(world.storage, asked, 2);
    assert.equal(total, null);
    assert.ok(atLeast > 0 && atLeast < ITEMS.length, `${atLeast}`);
    const made = (await createReplay(world.storage, { ...asked, ratePerS: 1_000, total, atLeast }, ranges, 0))!;
    assert.deepEqual([made.total, made.atLeast], [null, atLeast]);
    const node = await world.start();
    assert.equal((await finish(world, node, made)).sent, ITEMS.length);
    assert.equal((await findReplay(world.storage, made.id))?.total, ITEMS.length);
  });

  test('filters choose by kind, item, time and what became of the event; erased events are never sent', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url, ['item.created']);
    await world.append([1, 2, 3]);
    const at = world.clock.now();
    world.clock.advance(10_000);
    await world.append([1, 2], 'item.account.deleted');
    const node = await world.start();
    await node.settled(3);
    const count = async (change: object) =>
      (
        await countSelected(world.storage, {
          applicationId: world.applicationId,
          endpointId: endpoint.id,
          filter: { ...EVERYTHING, ...change },
        })
      ).total;
    assert.equal(await count({}), 5);
    assert.equal(await count({ types: ['item.account.deleted'] }), 2);
    assert.equal(await count({ itemIds: [1, 3] }), 3);
    assert.equal(await count({ since: at + 1 }), 2);
    assert.equal(await count({ until: at + 1 }), 3);
    assert.equal(await count({ outcome: 'delivered' }), 3);
    assert.equal(await count({ outcome: 'failed' }), 2);
    await world.storage.transaction((tx) => tx.run(sql`update events set erased = 1 where item_id = 1`));
    assert.equal(await count({}), 3);
    const progress = await finish(world, node, await replay(world, endpoint.id, { ...EVERYTHING, itemIds: [1, 2] } as ReplayFilter));
    assert.equal(progress.delivered, 2);
    assert.equal(await count({ outcome: 'failed' }), 0);
  });

  test('what was given up is sent again once, and fails again by its schedule within rows of its own', async (t) => {
    const world = await createWorld(await open(t), t);
    const state = { status: 500 };
    const receiver = await startReceiver(t, (_, response) => {
      response.statusCode = state.status;
      response.end();
    });
    const { endpoint } = await world.endpoint(receiver.url);
    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { retryDelaysMs: [1_000] }, POLICY);
    await world.append([1, 2]);
    const node = await world.start();
    const parked = async (replayId: string, wanted: string) =>
      (
        await world.storage.all(
          sql`select seq from parked where endpoint_id = ${endpoint.id} and replay_id = ${replayId} and state = ${wanted}`,
        )
      ).length;
    await until(node, async () => (await parked('', 'retry')) === 2);
    world.clock.advance(5_000);
    await until(node, async () => (await parked('', 'dead')) === 2);
    assert.equal(receiver.received.length, 4);

    const failing = await replay(world, endpoint.id, { kind: 'dead' });
    assert.equal(failing.total, 2);
    await until(node, async () => (await parked(failing.id, 'retry')) === 2);
    assert.equal((await progressOf(world.storage, failing)).retrying, 2);
    world.clock.advance(5_000);
    assert.deepEqual(await finish(world, node, failing), { sent: 2, delivered: 0, failed: 2, retrying: 0 });
    assert.deepEqual([await parked(failing.id, 'dead'), await parked('', 'dead')], [2, 2]);
    const listed = async () =>
      (await listDeliveries(world.storage, { endpointId: endpoint.id, state: 'dead', after: null, limit: 10 })).deliveries;
    assert.deepEqual((await listed()).map(({ itemId, type, attempts, dueAt }) => [itemId, type, attempts, dueAt]).sort(), [
      [1, 'item.created', 2, null],
      [2, 'item.created', 2, null],
    ]);

    state.status = 200;
    const healed = await finish(world, node, await replay(world, endpoint.id, { kind: 'dead' }));
    assert.deepEqual(healed, { sent: 2, delivered: 2, failed: 0, retrying: 0 });
    assert.equal((await listed()).length, 2, 'also when a replay has delivered them');
    const again = await replay(world, endpoint.id, { kind: 'dead' });
    assert.deepEqual([again.total, again.state], [0, 'done']);
    assert.equal(receiver.received.length, 10);
  });

  test('it keeps its rate, waits while it is paused or its endpoint is off, and ends when it is cancelled', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.append(ITEMS);
    const { endpoint } = await world.endpoint(receiver.url);
    let monotonic = 1_000;
    const node = await world.start({ monotonicMs: () => monotonic });
    const step = async (ms: number) => {
      monotonic += ms;
      for (let beats = 0; beats < 3; beats += 1) await node.tick();
    };
    const made = await replay(world, endpoint.id, EVERYTHING, 2);
    await until(node, () => receiver.received.length === 1);
    await step(0);
    assert.equal(receiver.received.length, 1);
    monotonic += 500;
    await until(node, () => receiver.received.length === 2);

    assert.ok(await moveReplay(world.storage, made.id, 'pause', 0));
    assert.equal(await moveReplay(world.storage, made.id, 'pause', 0), false);
    await step(1_000);
    await step(1_000);
    assert.equal(receiver.received.length, 2);
    assert.ok(await moveReplay(world.storage, made.id, 'resume', 0));
    await until(node, () => receiver.received.length === 3);

    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { enabled: false }, POLICY);
    // The node learns of it before its rate allows another: what it sends now would arrive whenever it likes.
    await step(0);
    await step(1_000);
    const before = receiver.received.length;
    await step(1_000);
    assert.equal(receiver.received.length, before);
    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { enabled: true }, POLICY);
    await until(node, () => receiver.received.length > before);

    assert.ok(await moveReplay(world.storage, made.id, 'cancel', 0));
    await step(0);
    await step(1_000);
    const last = receiver.received.length;
    await step(5_000);
    assert.equal(receiver.received.length, last);
    assert.equal((await findReplay(world.storage, made.id))?.state, 'cancelled');
    assert.equal(await moveReplay(world.storage, made.id, 'resume', 0), false);
    assert.equal(new Set(receiver.seqs()).size, receiver.received.length);
  });

  test('after a crash it goes on where it was: nothing is left out, and only what was under way is repeated', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.append(Array.from({ length: 300 }, (_, index) => index));
    const { endpoint } = await world.endpoint(receiver.url);
    const node = await world.start({ nodeId: 'node_one' });
    const made = await replay(world, endpoint.id, EVERYTHING);
    await until(node, () => receiver.received.length >= 60);
    await node.abandon();
    const received = receiver.received.length;
    const stored = (await progressOf(world.storage, made)).sent;
    const again = await world.start({ nodeId: 'node_one' });
    const progress = await finish(world, again, made);
    assert.deepEqual(progress, { sent: 300, delivered: 300, failed: 0, retrying: 0 });
    assert.equal(new Set(receiver.seqs()).size, 300);
    const repeated = receiver.received.length - 300;
    assert.ok(repeated <= received - stored + 16, `${repeated} repeated of ${received - stored} that were not written`);
  });

  test('what is erased between reading and sending is not sent', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.append(Array<number>(20).fill(5));
    const { endpoint } = await world.endpoint(receiver.url);
    let monotonic = 1_000;
    const node = await world.start({ monotonicMs: () => monotonic });
    const made = await replay(world, endpoint.id, EVERYTHING, 1);
    await until(node, () => receiver.received.length === 1);
    await world.storage.transaction((tx) => tx.run(sql`update events set erased = 1, content = '{}' where item_id = 5`));
    node.forgetItems(new Set([5]));
    const { id } = made;
    await until(node, async () => {
      monotonic += 1_000;
      return (await findReplay(world.storage, id))?.state === 'done';
    });
    assert.equal(receiver.received.length, 1);
  });

  test('one delivery is sent again; a deleted endpoint ends its replays', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    const [lane] = await world.append([7]);
    const node = await world.start();
    await node.settled(1);
    const one = await replay(world, endpoint.id, { kind: 'one', lane: lane!, seq: 1 });
    assert.equal((await finish(world, node, one)).delivered, 1);
    assert.deepEqual(receiver.seqs().length, 2);
    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { enabled: false }, POLICY);
    const orphan = await replay(world, endpoint.id, EVERYTHING);
    const paused = await replay(world, endpoint.id, EVERYTHING);
    await moveReplay(world.storage, paused.id, 'pause', world.clock.now());
    const { endpoint: other } = await world.endpoint(receiver.url);
    await updateEndpoint({ ...world, now: 0 }, other.id, { enabled: false }, POLICY);
    const ofOther = await replay(world, other.id, EVERYTHING);
    await moveReplay(world.storage, ofOther.id, 'pause', world.clock.now());
    await deleteEndpoint({ ...world, now: 0 }, endpoint.id);
    const stateOf = async ({ id }: Replay) => (await findReplay(world.storage, id))?.state;
    await until(node, async () => (await stateOf(orphan)) === 'cancelled' && (await stateOf(paused)) === 'cancelled');
    assert.equal(await stateOf(ofOther), 'paused');
  });

  test('what a replay had under way when its webhook was deleted is logged, and counts as what it was', async (t) => {
    const world = await createWorld(await open(t), t);
    const held: ((status: number) => void)[] = [];
    const receiver = await startReceiver(t, (_, response) => {
      if (held.length < 2) response.end();
      held.push((status) => response.writeHead(status).end());
    });
    const { endpoint } = await world.endpoint(receiver.url);
    await world.append([7, 8]);
    const node = await world.start();
    await node.settled(2);
    const made = await replay(world, endpoint.id, EVERYTHING);
    await until(node, () => receiver.received.length === 4);
    await deleteEndpoint({ ...world, now: 0 }, endpoint.id);
    await until(node, async () => (await findReplay(world.storage, made.id))?.state === 'cancelled');
    held[2]!(200);
    held[3]!(500);
    await node.settled(4);
    const logged = await world.storage.all<{ status: number }>(sql`select status from attempts where source = 'replay' order by status`);
    assert.deepEqual(
      logged.map(({ status }) => status),
      [200, 500],
    );
    assert.deepEqual(await progressOf(world.storage, made), { sent: 2, delivered: 1, failed: 0, retrying: 0 });
    assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
  });

  test('no statement of a replay reads a whole table', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, t);
    await world.append(ITEMS);
    const { endpoint } = await world.endpoint('http://127.0.0.1:9/');
    const made = await replay(world, endpoint.id, { ...EVERYTHING, outcome: 'failed' } as ReplayFilter);
    const reader = explaining(storage);
    for (const filter of [made.filter, { kind: 'dead' } as const, { kind: 'one', lane: 1, seq: 1 } as const]) {
      const selection = { replayId: made.id, applicationId: made.applicationId, endpointId: endpoint.id, filter };
      for (let lane = 0; lane < 64; lane += 16) await readSelected(reader, selection, { lane, position: 0, through: 100 });
    }
    await openReplays(reader);
    await findReplayByKey(reader, made.applicationId, 'a key');

    await readWork(reader, made);
    await progressOf(reader, made);
    await listReplays(reader, { applicationId: made.applicationId, after: { createdAt: 5, id: 'rpl' }, limit: 10 });
    assert.ok(reader.statements >= 15, engine);
    reader.assertNoFullScan(['attempts', 'parked', 'events', 'replays', 'replay_positions'], ['replays_open']);
  });

  test('a list of replays reads what waits of them, however much else waits for their endpoint', async (t) => {
    const storage = await open(t);
    const { applicationId } = await createWorld(storage, t);
    const replays = Array.from({ length: 45 }, (_, index) => ({ id: `rpl_${index}`, state: index < 40 ? 'running' : 'done' }) as const);
    await storage.transaction(async (tx) => {
      await tx.run(
        sql`insert into parked (endpoint_id, lane, seq, type, state, attempts, sent, due_at, parked_at)
            with recursive seqs (seq) as (select 1 union all select seq + 1 from seqs where seq < 3000)
            select 'wh_1', 1, seq, 'item.created', 'retry', 1, 1, 1, 1 from seqs`,
      );
      for (const { id, state } of replays) {
        await tx.run(
          sql`insert into replays (id, application_id, endpoint_id, kind, filter, state, total, created_at)
              values (${id}, ${applicationId}, 'wh_1', 'dead', '{"kind":"dead"}', ${state}, 5, 1)`,
        );
        for (const lane of [1, 2])
          await tx.run(
            sql`insert into replay_positions (replay_id, lane, position, through_seq, sent, delivered, failed)
                values (${id}, ${lane}, 3, 9, 3, 2, 1)`,
          );
      }
      await tx.insertMany(
        'parked',
        ['endpoint_id', 'lane', 'seq', 'replay_id', 'type', 'state', 'attempts', 'sent', 'due_at', 'parked_at'],
        [2, 3].map((seq) => ['wh_1', 1, seq, 'rpl_7', 'item.created', seq === 2 ? 'retry' : 'dead', 1, 1, 1, 1]),
      );
    });
    if (engine === 'postgres') await storage.transaction((tx) => tx.run(sql`analyze parked, replay_positions`));
    const reader = measuring(storage);
    const progress = await progressOfAll(reader, replays);
    assert.deepEqual(progress.get('rpl_7'), { sent: 6, delivered: 4, failed: 2, retrying: 1 });
    assert.deepEqual(progress.get('rpl_44'), { sent: 6, delivered: 4, failed: 2, retrying: 0 });
    assert.equal(reader.statements, 5, 'by twenties, and nothing waits of the last five');
    reader.assertBounded(['parked'], 200);
  });
});
