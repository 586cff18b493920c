/** A replay on two nodes of one PostgreSQL, each with a clock and heartbeats of its own that only the test moves. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { suite, type TestContext, test } from 'node:test';
import { openEngine } from '../../../test/support/engines.ts';
import { HOUR_MS, SECOND_MS } from '../../base/clock.ts';
import { laneOf } from '../../events/log.ts';
import { sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import type { DeliveryOptions } from '../delivery.ts';
import { createWorld, type Running, range, startReceiver, type World } from '../testing.ts';
import { progressOf } from './progress.ts';
import { createReplay, findReplay, moveReplay, type Replay, type ReplayFilter } from './replays.ts';
import { countSelected } from './selection.ts';

const EVERYTHING: ReplayFilter = { kind: 'range', since: null, until: null, types: null, itemIds: null, outcome: null };

type Node = Running & { wait(ms: number): void };

async function startNode(world: World, nodeId: string, extra: Partial<DeliveryOptions> = {}): Promise<Node> {
  let monotonicMs = 0;
  const delivery = await world.start({ nodeId, monotonicMs: () => monotonicMs, heartbeatMs: HOUR_MS, ...extra });
  return {
    ...delivery,
    wait(ms) {
      monotonicMs += ms;
    },
  };
}

async function beat(nodes: readonly Node[], ms = SECOND_MS) {
  for (const node of nodes) await node.tick();
  for (const node of nodes) node.wait(ms);
  await new Promise(setImmediate);
}

async function until(nodes: readonly Node[], isSo: () => Promise<boolean> | boolean, ms = SECOND_MS): Promise<void> {
  for (let beats = 0; !(await isSo()); beats += 1) {
    assert.ok(beats < 3_000, 'it does not come about');
    await beat(nodes, ms);
  }
}

async function replay(world: World, endpointId: string, ratePerS = 1_000): Promise<Replay> {
  const { storage, applicationId, clock } = world;
  const { total, ranges } = await countSelected(storage, { applicationId, endpointId, filter: EVERYTHING });
  return (await createReplay(storage, { applicationId, endpointId, filter: EVERYTHING, ratePerS, total }, ranges, clock.now()))!;
}

const stateOf = async (world: World, { id }: Replay) => (await findReplay(world.storage, id))!.state;
const isDone = (world: World, made: Replay) => async () => (await stateOf(world, made)) === 'done';

/** Events, and then an endpoint that is newer than they are. */
async function createLoggedWorld(t: TestContext, events: number, answer?: (response: ServerResponse) => void) {
  const world = await createWorld(await openEngine('postgres', t), t);
  await world.append(range(events));
  const receiver = await startReceiver(t, answer && ((_, response) => answer(response)));
  const { endpoint } = await world.endpoint(receiver.url);
  return { world, receiver, endpoint };
}

async function startTwo(world: World): Promise<[Node, Node]> {
  const nodes: [Node, Node] = [await startNode(world, 'node_one'), await startNode(world, 'node_two')];
  await until(nodes, () => nodes.every((node) => node.stats().lanes === 32));
  return nodes;
}

suite('a replay on two nodes', () => {
  test('sends each event once, by both of them, and ends once', async (t) => {
    const { world, receiver, endpoint } = await createLoggedWorld(t, 300);
    const nodes = await startTwo(world);
    const made = await replay(world, endpoint.id);
    await until(nodes, isDone(world, made));
    assert.deepEqual(await progressOf(world.storage, made), { sent: 300, delivered: 300, failed: 0, retrying: 0 });
    assert.deepEqual([receiver.received.length, new Set(receiver.seqs()).size], [300, 300]);
  });

  test('each time one joins or leaves, the lanes go over and nothing is sent twice or left out', async (t) => {
    const { world, receiver, endpoint } = await createLoggedWorld(t, 600);
    const one = await startNode(world, 'node_one');
    const made = await replay(world, endpoint.id);
    await until([one], () => receiver.received.length >= 60, 50);
    const two = await startNode(world, 'node_two');
    await until([one, two], () => receiver.received.length >= 200, 50);
    const three = await startNode(world, 'node_three');
    await until([one, two, three], () => receiver.received.length >= 350, 50);
    await two.stop();
    await until([one, three], isDone(world, made), 50);
    assert.deepEqual(await progressOf(world.storage, made), { sent: 600, delivered: 600, failed: 0, retrying: 0 });
    assert.equal(new Set(receiver.seqs()).size, 600);
    assert.equal(receiver.received.length, 600);
  });

  test('a lane that goes over is sent no further here, however much of it was read', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    // Of its 64 lanes the first node gives the upper half.
    const given = range(200).filter((itemId) => laneOf(`item:${itemId}`) >= 32);
    const items = given.slice(0, 3).flatMap((itemId) => Array<number>(190).fill(itemId));
    await world.append(items);
    const held: (() => void)[] = [];
    let holding = true;
    const receiver = await startReceiver(t, (_, response) => {
      if (holding) held.push(() => response.end());
      else response.end();
    });
    const { endpoint } = await world.endpoint(receiver.url);
    const one = await startNode(world, 'node_one', { version: 'one' });
    /** Its new owner may have begun with a lane that was free at once. */
    const ofOne = () => receiver.received.filter(({ headers }) => headers['user-agent']!.includes('one')).length;
    const made = await replay(world, endpoint.id);
    await until([one], () => receiver.received.length >= 1, 20);
    const two = await startNode(world, 'node_two');
    await one.tick();
    assert.ok(one.stats().lanes > 32, 'a request of one is under way');
    // Another one may have been begun, and is on its way to the receiver.
    while (ofOne() < one.stats().underWay) await new Promise(setImmediate);
    const sent = ofOne();
    assert.ok(sent > 0);
    one.wait(SECOND_MS);
    holding = false;
    for (const answer of held) answer();
    while (one.stats().underWay > 0) await new Promise(setImmediate);
    assert.equal(ofOne(), sent, 'what was under way has ended, and nothing more was begun');
    await until([one, two], isDone(world, made), 20);
    assert.deepEqual(await progressOf(world.storage, made), { sent: items.length, delivered: items.length, failed: 0, retrying: 0 });
    assert.equal(receiver.received.length, items.length);
  });

  test('one that is killed loses only what it had not written; the counts stay true', async (t) => {
    const { world, receiver, endpoint } = await createLoggedWorld(t, 400);
    const [one, two] = await startTwo(world);
    const made = await replay(world, endpoint.id);
    await until([one, two], () => receiver.received.length >= 120, 20);
    await one.abandon();
    await until([two], isDone(world, made));
    assert.deepEqual(await progressOf(world.storage, made), { sent: 400, delivered: 400, failed: 0, retrying: 0 });
    assert.equal(new Set(receiver.seqs()).size, 400);
    assert.ok(receiver.received.length < 400 + 200, `${receiver.received.length - 400} repeated`);
  });

  test('pauses on both, goes on, and a cancel ends it on both, with what had failed', async (t) => {
    let status = 200;
    const { world, receiver, endpoint } = await createLoggedWorld(t, 300, (response) => response.writeHead(status).end());
    const nodes = await startTwo(world);
    const made = await replay(world, endpoint.id, 20);
    await until(nodes, () => receiver.received.length >= 20, 100);
    const quiet = async () => {
      await beat(nodes);
      while (nodes.some((node) => node.stats().underWay > 0)) await new Promise(setImmediate);
      const before = receiver.received.length;
      for (let beats = 0; beats < 5; beats += 1) await beat(nodes);
      assert.equal(receiver.received.length, before);
    };
    assert.ok(await moveReplay(world.storage, made.id, 'pause', 0));
    await quiet();
    status = 500;
    assert.ok(await moveReplay(world.storage, made.id, 'resume', 0));
    const retrying = async () => (await progressOf(world.storage, made)).retrying;
    await until(nodes, async () => (await retrying()) >= 3, 100);
    assert.ok(await moveReplay(world.storage, made.id, 'cancel', 0));
    await quiet();
    assert.equal(await retrying(), 0);
    const progress = await progressOf(world.storage, made);
    assert.equal(progress.sent, new Set(receiver.seqs()).size);
    assert.equal(await stateOf(world, made), 'cancelled');
  });

  test('keep its rate between them', async (t) => {
    const { world, receiver, endpoint } = await createLoggedWorld(t, 300);
    const nodes = await startTwo(world);
    await replay(world, endpoint.id, 10);
    for (const node of nodes) await node.tick();
    const seconds = 12;
    for (let tenths = 0; tenths < seconds * 10; tenths += 1) await beat(nodes, 100);
    while (nodes.some((node) => node.stats().underWay > 0)) await new Promise(setImmediate);
    const { length } = receiver.received;
    assert.ok(length <= 10 * seconds + 4 && length >= 10 * seconds * 0.8, `${length} in ${seconds} s`);
  });

  test('counts once what it has to write twice, because a commit was not heard of', async (t) => {
    const { world, receiver, endpoint } = await createLoggedWorld(t, 100);
    const counted = () => world.storage.first<{ sent: number | null }>(sql`select cast(sum(sent) as bigint) as sent from replay_positions`);
    let unheard = 0;
    const storage: Storage = {
      ...world.storage,
      async transaction(work) {
        const before = (await counted())?.sent ?? 0;
        const answer = await world.storage.transaction(work);
        if (((await counted())?.sent ?? 0) === before) return answer;
        unheard += 1;
        throw new Error('the connection ended before the answer came');
      },
    };
    const node = await startNode(world, 'node_one', { storage });
    const made = await replay(world, endpoint.id);
    await until([node], isDone(world, made));
    // How many results one transaction writes is the machine's affair: what is written again is not counted, and so is heard of.
    assert.ok(unheard >= 1);
    assert.deepEqual(await progressOf(world.storage, made), { sent: 100, delivered: 100, failed: 0, retrying: 0 });
    assert.equal(receiver.received.length, 100);
  });
});
