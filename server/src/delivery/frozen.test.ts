/** A process that stands still while its connections are being opened, and wakes when its lease has ended. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { eachEngine, openEngine } from '../../test/support/engines.ts';
import { HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { sql } from '../storage/sql.ts';
import { audit } from './audit/audit.ts';
import { startHoldingProxy } from './sending/testing.ts';
import { createWorld, POLICY, type Running, startReceiver } from './testing.ts';

async function untilIdle(node: Running) {
  while (node.stats().underWay > 0) await new Promise(setImmediate);
}

eachEngine('a node that stood still', (open) => {
  test('while its machine was suspended, and its monotonic clock with it, sends nothing before it has renewed its lease', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const proxy = await startHoldingProxy(t);
    await world.endpoint(receiver.url);
    const node = await world.start({
      monotonicMs: () => 0,
      wallMs: world.clock.now,
      heartbeatMs: HOUR_MS,
      policy: { ...POLICY, egressProxy: proxy.url },
    });
    node.wake(await world.append([1, 2, 3]));
    await proxy.asked(3);
    world.clock.advance(8 * SECOND_MS);
    proxy.letGo();
    await untilIdle(node);
    assert.deepEqual([receiver.received.length, node.reports.length, node.stats().queued], [0, 0, 3]);
    await node.tick();
    await node.settled(3);
    assert.equal(new Set(receiver.seqs()).size, 3);
  });

  test('sends on when only its clock is set back', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const node = await world.start({ monotonicMs: () => 0, wallMs: world.clock.now, heartbeatMs: HOUR_MS });
    world.clock.advance(-HOUR_MS);
    node.wake(await world.append([1, 2, 3]));
    await node.settled(3);
    assert.equal(receiver.received.length, 3);
  });

  test('sends nothing before it has renewed its lease, then all of it, in order and once', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const proxy = await startHoldingProxy(t);
    await world.endpoint(receiver.url);
    let monotonicMs = 0;
    const node = await world.start({ monotonicMs: () => monotonicMs, heartbeatMs: HOUR_MS, policy: { ...POLICY, egressProxy: proxy.url } });
    node.wake(await world.append([1, 1, 1, 2, 3]));
    await proxy.asked(3);
    monotonicMs += 8 * SECOND_MS;
    proxy.letGo();
    await untilIdle(node);
    assert.deepEqual([receiver.received.length, node.reports.length, node.stats().queued], [0, 0, 5]);
    await node.tick();
    await node.settled(5);
    assert.equal(receiver.received.length, 5);
    const ofOne = receiver.received.filter(({ body }) => body.includes('"item_id":1,')).map(({ id }) => id);
    assert.deepEqual(ofOne, [...ofOne].sort(), 'in the order of their item');
    assert.equal(new Set(receiver.seqs()).size, 5);
    assert.ok(
      node.reports.every(({ failure, n }) => failure === null && n === 1),
      'no attempt was spent',
    );
    assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
  });
});

suite('a node that stood still beside another one', () => {
  test('sends nothing of what it was opening connections for, and settles nothing', async (t) => {
    const world = await createWorld(await openEngine('postgres', t), t);
    const receiver = await startReceiver(t);
    const proxy = await startHoldingProxy(t);
    const { endpoint } = await world.endpoint(receiver.url);
    let monotonicMs = 0;
    let otherMs = 0;
    const policy = { ...POLICY, egressProxy: proxy.url };
    const one = await world.start({ nodeId: 'node_one', monotonicMs: () => monotonicMs, heartbeatMs: HOUR_MS, policy });
    const lanes = await world.append(Array.from({ length: 12 }, (_, item) => item));
    one.wake(lanes);
    await proxy.asked(12);
    monotonicMs += 8 * SECOND_MS;
    const two = await world.start({ nodeId: 'node_two', monotonicMs: () => otherMs, heartbeatMs: HOUR_MS });
    for (let beats = 0; beats < 8; beats += 1) {
      await two.tick();
      otherMs += SECOND_MS;
    }
    await two.settled(12);
    proxy.letGo();
    await untilIdle(one);
    assert.equal(one.stats().lanes, 64, 'it does not know yet');
    for (let beats = 0; beats < 3; beats += 1) for (const node of [one, two]) await node.tick();
    assert.deepEqual([receiver.received.length, one.reports.length], [12, 0]);
    const health = await world.storage.first<{ circuit: string }>(
      sql`select circuit from endpoint_health where endpoint_id = ${endpoint.id} and circuit <> 'closed'`,
    );
    assert.equal(health, undefined, 'and the receiver was not found to fail');
  });
});
