/** Several nodes in one process, on one PostgreSQL, each with a clock and heartbeats of its own that only the test moves. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { openEngine } from '../../test/support/engines.ts';
import { HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { sql } from '../storage/sql.ts';
import { createWorld, type Running, range, settledSum, startReceiver, type World } from './testing.ts';

type Node = { delivery: Running; wait(ms: number): void };

async function startNode(world: World, nodeId: string): Promise<Node> {
  let monotonicMs = 0;
  const delivery = await world.start({ nodeId, monotonicMs: () => monotonicMs, heartbeatMs: HOUR_MS });
  return {
    delivery,
    wait(ms) {
      monotonicMs += ms;
    },
  };
}

async function beat(nodes: readonly Node[], rounds: number) {
  for (let round = 0; round < rounds; round += 1) {
    for (const { delivery } of nodes) await delivery.tick();
    for (const node of nodes) node.wait(SECOND_MS);
  }
}

const lanesOf = (nodes: readonly Node[]) => nodes.map(({ delivery }) => delivery.stats().lanes);

/** The clocks of the nodes run ahead of the machine: an endpoint may lag, and then the lanes settle without it. */
const isQuiet = ({ delivery }: Node) => {
  const { queued, underWay, unflushed, lagging } = delivery.stats();
  return queued + underWay + unflushed + lagging === 0;
};

/** Heartbeats until all of it is settled. */
async function settle(world: World, nodes: readonly Node[], events: number) {
  while ((await settledSum(world)) !== events || !nodes.every(isQuiet)) {
    await beat(nodes, 1);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

suite('several nodes', () => {
  test('one that joins under load is handed its lanes, one that leaves hands them back; nothing is sent twice', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const one = await startNode(world, 'node_one');
    one.delivery.wake(await world.append(range(300)));
    const two = await startNode(world, 'node_two');
    const nodes = [one, two];
    for (const round of range(10)) {
      const lanes = await world.append(range(60, round * 1_000));
      for (const { delivery } of nodes) delivery.wake(lanes);
      await beat(nodes, 1);
    }
    assert.deepEqual(lanesOf(nodes), [32, 32]);
    const three = await startNode(world, 'node_three');
    nodes.push(three);
    await beat(nodes, 3);
    assert.deepEqual(lanesOf(nodes).sort(), [20, 22, 22]);
    const lanes = await world.append(range(200, 50_000));
    for (const { delivery } of nodes) delivery.wake(lanes);
    await one.delivery.stop();
    await beat([two, three], 3);
    assert.deepEqual(lanesOf([two, three]), [32, 32]);
    await settle(world, [two, three], 1_100);
    assert.equal(new Set(receiver.seqs()).size, 1_100);
    assert.equal(receiver.received.length, 1_100);
  });

  test('order of an item holds over a handover, and what is under way in it has two seconds', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const held: (() => void)[] = [];
    let holding = true;
    let brokenOff = 0;
    const receiver = await startReceiver(t, (_, response) => {
      response.on('close', () => {
        if (!response.writableFinished) brokenOff += 1;
      });
      if (holding) held.push(() => response.end());
      else response.end();
    });
    await world.endpoint(receiver.url);
    const one = await startNode(world, 'node_one');
    one.delivery.wake(await world.append(range(16)));
    await receiver.until(16);
    const two = await startNode(world, 'node_two');
    await one.delivery.tick();
    await two.delivery.tick();
    const [kept] = lanesOf([one]);
    assert.ok(kept! > 32, 'lanes with requests under way are still here');
    holding = false;
    for (const answer of held) answer();
    await one.delivery.settled(16);
    await beat([one, two], 2);
    assert.deepEqual(lanesOf([one, two]), [32, 32]);
    assert.equal(receiver.received.length, 16, 'they ended in time, and were not repeated');

    holding = true;
    held.length = 0;
    // Each of two nodes may have eight requests under way.
    const lanes = await world.append(range(8, 100));
    for (const { delivery } of [one, two]) delivery.wake(lanes);
    await receiver.until(24);
    const three = await startNode(world, 'node_three');
    await beat([one, two, three], 1);
    holding = false;
    await beat([one, two, three], 4);
    assert.deepEqual(lanesOf([one, two, three]).sort(), [20, 22, 22], 'after two seconds they go, answered or not');
    assert.ok(receiver.received.length > 24, 'the next owners have sent what had not ended');
    for (const answer of held) answer();
    await settle(world, [one, two, three], 24);
    assert.equal(brokenOff, receiver.received.length - 24, 'and what they have sent again was broken off before');
    assert.equal(new Set(receiver.seqs()).size, 24);
  });

  test('a killed node is missed at once, and only what was under way or not settled is repeated', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const [one, two] = [await startNode(world, 'node_one'), await startNode(world, 'node_two')];
    await beat([one, two], 3);
    const lanes = await world.append(range(400));
    for (const { delivery } of [one, two]) delivery.wake(lanes);
    await receiver.until(100);
    await one.delivery.abandon();
    await beat([two], 3);
    assert.deepEqual(lanesOf([two]), [64]);
    await settle(world, [two], 400);
    assert.equal(new Set(receiver.seqs()).size, 400);
    assert.ok(receiver.received.length <= 400 + 400 / 2, `${receiver.received.length - 400} repeated`);
  });

  test('a frozen node is replaced within seven seconds; thawed, it sends nothing and settles nothing of what was its own', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const [one, two] = [await startNode(world, 'node_one'), await startNode(world, 'node_two')];
    await beat([one, two], 3);
    // It stands still while the world goes on: no heartbeat, and then a clock that has moved by eight seconds.
    one.wait(8 * SECOND_MS);
    await beat([two], 8);
    assert.deepEqual(lanesOf([two]), [64]);
    assert.deepEqual(lanesOf([one]), [32], 'it does not know yet');
    const lanes = await world.append(range(200));
    one.delivery.wake(lanes);
    two.delivery.wake(lanes);
    await settle(world, [two], 200);
    assert.equal(one.delivery.reports.length, 0);
    assert.equal(receiver.received.length, 200);
    await beat([one, two], 3);
    assert.deepEqual(lanesOf([one, two]), [32, 32]);
    assert.equal(receiver.received.length, 200);
  });

  test('one that loses its lanes while it hands them over goes on', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const held: (() => void)[] = [];
    let holding = true;
    const receiver = await startReceiver(t, (_, response) => {
      if (holding) held.push(() => response.end());
      else response.end();
    });
    await world.endpoint(receiver.url);
    const one = await startNode(world, 'node_one');
    one.delivery.wake(await world.append(range(16)));
    await receiver.until(16);
    const two = await startNode(world, 'node_two');
    await one.delivery.tick();
    assert.ok(lanesOf([one])[0]! > 32, 'its requests are under way');
    one.wait(8 * SECOND_MS);
    holding = false;
    await beat([two], 8);
    assert.deepEqual(lanesOf([two]), [64]);
    // Their answers let it write what it does not own any more.
    for (const answer of held) answer();
    while (one.delivery.stats().underWay > 0) await new Promise(setImmediate);
    await settle(world, [one, two], 16);
    await beat([one, two], 3);
    assert.deepEqual(lanesOf([one, two]), [32, 32]);
  });

  test('events that one node commits reach another by a hint, without a heartbeat', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const [one, two] = [await startNode(world, 'node_one'), await startNode(world, 'node_two')];
    await beat([one, two], 3);
    const owned = await world.storage.all<{ lane: number; owner: string }>(sql`select lane, owner from lane_leases`);
    const byLane = new Map(owned.map(({ lane, owner }) => [lane, owner]));
    const items = range(400);
    const lanes = await world.append(items);
    const forTwo = lanes.filter((lane) => byLane.get(lane) === 'node_two').length;
    assert.ok(forTwo > 0);
    one.delivery.wake(lanes);
    await receiver.until(400);
    await two.delivery.settled(forTwo);
    assert.equal(receiver.received.length, 400);
  });

  test('two nodes keep the rate of one endpoint between them, and its circuit is one', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const receiver = await startReceiver(t, (_, response) => response.writeHead(500).end());
    const { endpoint } = await world.endpoint(receiver.url, ['item.created']);
    const [one, two] = [await startNode(world, 'node_one'), await startNode(world, 'node_two')];
    await beat([one, two], 3);
    const lanes = await world.append(range(200));
    for (const { delivery } of [one, two]) delivery.wake(lanes);
    const circuit = async () =>
      (await world.storage.first<{ circuit: string }>(sql`select circuit from endpoint_health where endpoint_id = ${endpoint.id}`))
        ?.circuit;
    while ((await circuit()) !== 'open' || [one, two].some(({ delivery }) => delivery.stats().underWay + delivery.stats().queued > 0)) {
      await beat([one, two], 1);
    }
    const tried = receiver.received.length;
    assert.ok(tried <= 10 + 2 * 16, `${tried}`);
    for (const minutes of range(4)) {
      world.clock.advance(2 ** minutes * 30 * SECOND_MS);
      await beat([one, two], 3);
    }
    const probes = await world.storage.first<{ count: number }>(sql`select count(*) as count from attempts where source = 'probe'`);
    assert.ok(receiver.received.length - tried <= 4 && probes!.count >= 1, `${receiver.received.length - tried} probes of two nodes`);
    const told = await world.storage.all(sql`select type from events where about_endpoint_id = ${endpoint.id}`);
    assert.equal(told.length, 1);
  });
});
