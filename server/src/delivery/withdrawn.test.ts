/** What is taken out of the log beside running nodes, by an erasure or by retention: they find out by their heartbeats. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { suite, type TestContext, test } from 'node:test';
import { eachEngine, openEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { updateEndpoint } from '../endpoints/endpoints.ts';
import { sql } from '../storage/sql.ts';
import { silentLog } from '../telemetry/log.ts';
import { eraseItem } from '../upkeep/erasure.ts';
import { scrubAll } from '../upkeep/scrub.ts';
import { keepLog } from '../upkeep/upkeep.ts';
import { audit, auditSegment } from './audit/audit.ts';
import { progressOf } from './replay/progress.ts';
import { createReplay, findReplay } from './replay/replays.ts';
import { countSelected } from './replay/selection.ts';
import { startHoldingProxy } from './sending/testing.ts';
import { createWorld, POLICY, type Running, startReceiver, type World } from './testing.ts';

/** The item with this id, as erasing finds it. */
async function makeItem({ storage, vault, applicationId }: World, id: number) {
  await storage.transaction(async (tx) => {
    const key = await vault.createKey(tx, 1);
    await tx.run(
      sql`insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, created_at)
          select ${id}, ${applicationId}, uuid, 574, 0, ${key}, 1 from users`,
    );
  });
}

/** As another process does it: no node is told. */
async function erase(world: World, id: number) {
  assert.ok(await eraseItem({ storage: world.storage, vault: world.vault, now: world.clock.now() }, id));
}

const scrub = ({ storage, clock }: World) => scrubAll({ storage, clock, log: silentLog, connector: () => null, onErased: () => {} });

async function startHeldReceiver(t: TestContext) {
  const held: { itemId: number; response: ServerResponse }[] = [];
  const receiver = await startReceiver(t, (_, response, { body }) => void held.push({ itemId: itemIdOf(body), response }));
  const release = () => {
    for (const { response } of held.splice(0)) response.end();
  };
  return { ...receiver, release, count: (itemId: number) => receiver.received.filter(({ body }) => itemIdOf(body) === itemId).length };
}

const itemIdOf = (body: string) => Number(/"item_id":(\d+)/.exec(body)![1]);

async function until(nodes: readonly Running[], isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (let beats = 0; !(await isSo()); beats += 1) {
    assert.ok(beats < 2_000, 'it does not come about');
    for (const node of nodes) await node.tick();
    await new Promise(setImmediate);
  }
}

const isSettled = async ({ storage }: World) =>
  (await storage.first<{ behind: number }>(
    sql`select count(*) as behind from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head`,
  ))!.behind === 0;

eachEngine('an item that is erased elsewhere', (open) => {
  test('is not sent after the next heartbeat: neither what waits in a queue nor what is read before it becomes a tombstone', async (t) => {
    const world = await createWorld(await open(t), t);
    await makeItem(world, 1);
    const receiver = await startHeldReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    const node = await world.start({ heartbeatMs: HOUR_MS });
    node.wake(await world.append([1, 1, 1, 2]));
    await receiver.until(2);
    await erase(world, 1);
    await node.tick();
    node.wake(await world.append([1, 1, 2]));
    receiver.release();
    await until([node], () => receiver.count(2) === 2);
    receiver.release();
    await node.settled(3);
    await until([node], () => isSettled(world));
    assert.equal(receiver.count(1), 1, 'what was under way, and no more');

    // What an endpoint missed while it was off is read from the log, where all of it still stands.
    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { enabled: false }, POLICY);
    await node.tick();
    node.wake(await world.append([1, 2]));
    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { enabled: true }, POLICY);
    await until([node], () => receiver.count(2) === 3);
    receiver.release();
    await node.settled(4);
    await until([node], () => isSettled(world));
    assert.equal(receiver.count(1), 1);
    const before = await audit(world.storage, { from: 0 });
    assert.deepEqual(before.faults, [], 'the audit knows it before the log has been gone through');
    assert.equal(
      before.hours.reduce((sum, { erased }) => sum + erased, 0),
      5,
    );
    await scrub(world);
    assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
  });

  test('is not written to a connection that was still being opened', async (t) => {
    const world = await createWorld(await open(t), t);
    await makeItem(world, 1);
    const receiver = await startReceiver(t);
    const proxy = await startHoldingProxy(t);
    await world.endpoint(receiver.url);
    const node = await world.start({ heartbeatMs: HOUR_MS, policy: { ...POLICY, egressProxy: proxy.url } });
    node.wake(await world.append([1, 1, 2]));
    await proxy.asked(2);
    await erase(world, 1);
    await node.tick();
    proxy.letGo();
    await node.settled(1);
    await until([node], () => isSettled(world));
    assert.deepEqual(
      receiver.received.map(({ body }) => itemIdOf(body)),
      [2],
    );
  });

  test('nor is it sent by a retry, or by a replay', async (t) => {
    const world = await createWorld(await open(t), t);
    await makeItem(world, 1);
    let status = 500;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
    const { endpoint } = await world.endpoint(receiver.url);
    const node = await world.start({ heartbeatMs: HOUR_MS });
    node.wake(await world.append([1, 1, 2]));
    await node.settled(2);
    await until([node], () => isSettled(world));
    await erase(world, 1);
    await node.tick();
    status = 200;
    world.clock.advance(10 * SECOND_MS);
    const replayed = { applicationId: world.applicationId, endpointId: endpoint.id };
    const filter = { kind: 'range', since: null, until: null, types: null, itemIds: null, outcome: null } as const;
    const { total, ranges } = await countSelected(world.storage, { ...replayed, filter });
    const made = (await createReplay(world.storage, { ...replayed, filter, total, ratePerS: 1_000 }, ranges, 0))!;
    await until([node], async () => (await findReplay(world.storage, made.id))?.state === 'done');
    const parked = async () => world.storage.all<{ due_at: number | null }>(sql`select due_at from parked`);
    await until([node], async () => (await parked()).every(({ due_at }) => due_at === null));
    const sent = receiver.received.map(({ body }) => itemIdOf(body)).sort();
    assert.deepEqual(sent, [1, 2, 2, 2], 'each once before, and the other one by its retry and by the replay');
    assert.equal((await progressOf(world.storage, made)).delivered, 1);
    await scrub(world);
    assert.deepEqual(await parked(), []);
    assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
  });
});

suite('an item that one of two nodes erases', () => {
  test('is not sent by the other after its heartbeat', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const receiver = await startHeldReceiver(t);
    await world.endpoint(receiver.url);
    const start = (nodeId: string) => world.start({ nodeId, heartbeatMs: HOUR_MS, monotonicMs: () => 0 });
    const nodes = [await start('node_one'), await start('node_two')];
    await until(nodes, () => nodes.every((node) => node.stats().lanes === 32));
    const items = Array.from({ length: 8 }, (_, index) => index + 1);
    for (const id of items) await makeItem(world, id);
    const lanes = await world.append([...items, ...items]);
    for (const node of nodes) node.wake(lanes);
    await receiver.until(8);
    for (const id of items) await erase(world, id);
    for (const node of nodes) await node.tick();
    receiver.release();
    await until(nodes, () => isSettled(world));
    assert.deepEqual(
      items.map((id) => receiver.count(id)),
      items.map(() => 1),
    );
  });
});

eachEngine('deliveries that have expired', (open) => {
  test('let go of what waits behind them, on the node that holds the lane', async (t) => {
    const world = await createWorld(await open(t), t);
    const { storage, clock } = world;
    const retire = () =>
      keepLog(
        {
          ...{ storage, clock, log: silentLog, retentionDays: 30, mayGoOn: () => true },
          auditSegment: (segment, ends, turn) => auditSegment(storage, segment, ends, turn),
          pause: () => new Promise((resolve) => setImmediate(resolve)),
        },
        { believed: clock.now(), plausible: true },
      );
    let status = 500;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
    const { endpoint } = await world.endpoint(receiver.url);
    const node = await world.start({ heartbeatMs: HOUR_MS });
    node.wake(await world.append([1, 1]));
    await node.settled(1);
    await until([node], () => isSettled(world));
    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { enabled: false }, POLICY);
    await node.tick();
    clock.advance(DAY_MS);
    await retire();
    // In the next segment, behind what will have expired.
    await world.append([1]);
    clock.advance(91 * DAY_MS);
    await retire();
    const expired = await storage.first<{ expired: number }>(sql`select cast(sum(expired) as bigint) as expired from audited_hours`);
    assert.equal(expired?.expired, 2);
    status = 200;
    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { enabled: true }, POLICY);
    const lanes = await world.append([1]);
    await node.tick();
    node.wake(lanes);
    await until([node], () => node.reports.length === 3);
    assert.equal(receiver.received.length, 3, 'one attempt before, and then the two that are left');
    assert.deepEqual((await audit(storage, { from: 0 })).faults, []);
  });
});
