/** A backlog that a start finds is drained slowly at first. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS } from '../base/clock.ts';
import { updateEndpoint } from '../endpoints/endpoints.ts';
import { enableEndpoint } from '../endpoints/resume.ts';
import { context, count, createWorld, enable, POLICY, type Receiver, range, startReceiver, until, type World } from './testing.ts';

eachEngine('a backlog that a start finds', (open) => {
  /** A server that starts with a clock that stands still, and how many requests it has made by a time of that. */
  async function startDriven(world: World, receiver: Receiver) {
    let monotonicMs = 0;
    const delivery = await world.start({ monotonicMs: () => monotonicMs });
    const at = async (ms: number, most: number) => {
      while (monotonicMs < ms) {
        monotonicMs += 10;
        await until(delivery, () => delivery.stats().underWay === 0);
        await delivery.tick();
        await new Promise(setImmediate);
      }
      await until(delivery, () => delivery.stats().underWay === 0);
      assert.ok(receiver.received.length <= most, `${receiver.received.length} requests in ${ms} ms`);
    };
    return { delivery, at };
  }

  /** Events of 400 items, missed while it was off; the server has stopped since. */
  async function missed(world: World, receiver: Receiver, settings: { ratePerS?: number } = {}) {
    const { endpoint } = await world.endpoint(receiver.url);
    await updateEndpoint(context(world), endpoint.id, { ...settings, enabled: false }, POLICY);
    const delivery = await world.start();
    await world.append(range(400));
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 64);
    await delivery.stop();
    return endpoint;
  }

  test('is drained slowly at first where the webhook was enabled without a server', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const endpoint = await missed(world, receiver);
    assert.ok(await enableEndpoint(context(world), endpoint.id, 'stopped'));
    const { delivery, at } = await startDriven(world, receiver);
    await at(0, 1);
    await at(200, 11);
    await at(490, 26);
    await at(990, 76);
    assert.ok(receiver.received.length >= 40, `${receiver.received.length} after a second`);
    await at(6_000, 400);
    assert.equal(receiver.received.length, 400);
    await delivery.stop();
    assert.deepEqual([await count(world, 'endpoint_positions'), await count(world, 'parked')], [0, 0]);
  });

  test('keeps the rate of its webhook from the first second on', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const endpoint = await missed(world, receiver, { ratePerS: 20 });
    await enable(world, endpoint.id);
    const first = await startDriven(world, receiver);
    await first.at(0, 1);
    await first.at(1_000, 21);
    assert.ok(receiver.received.length >= 19, `${receiver.received.length} after a second`);
    await first.delivery.stop();
    const before = receiver.received.length;
    const second = await startDriven(world, receiver);
    await second.at(0, before + 1);
    await second.at(1_000, before + 21);
    assert.ok(receiver.received.length >= before + 19);
  });

  test('is drained slowly at first by a plain restart, and by one in the midst of such a drain', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const endpoint = await missed(world, receiver, { ratePerS: 200 });
    await enable(world, endpoint.id);
    for (const _ of range(2)) {
      const before = receiver.received.length;
      const { delivery, at } = await startDriven(world, receiver);
      await at(0, before + 1);
      await at(490, before + 26);
      await delivery.stop();
    }
  });

  test('of deliveries that wait for another attempt is one like any other', async (t) => {
    const world = await createWorld(await open(t), t);
    let status = 503;
    const receiver = await startReceiver(t, (_, response) =>
      response.writeHead(status, status === 503 ? { 'retry-after': '1' } : {}).end(),
    );
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    // Each of its pauses is short: nothing lags, and what was sent is parked.
    while ((await count(world, 'parked')) < 40) {
      delivery.wake(await world.append(range(20)));
      world.clock.advance(2_000);
      await delivery.tick();
      await until(delivery, () => delivery.stats().underWay === 0 && delivery.stats().unflushed === 0);
    }
    await delivery.stop();
    assert.equal(await count(world, 'endpoint_positions'), 0);
    const before = receiver.received.length;
    status = 200;
    world.clock.advance(DAY_MS);
    const { at } = await startDriven(world, receiver);
    await at(0, before + 1);
    await at(490, before + 26);
  });
});
