/** An item keeps its order while one of its events waits, where its endpoint wants that. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { sql } from '../storage/sql.ts';
import { RETRY_DELAYS_MS } from './channels/retry.ts';
import { assertOrder, count, createWorld, itemOf, parked, range, startReceiver, until } from './testing.ts';

eachEngine('order', (open) => {
  test('while an event of an item is parked, later ones wait behind it and follow one by one', async (t) => {
    const world = await createWorld(await open(t), t);
    let status = 500;
    const receiver = await startReceiver(t, (_, response, { body }) => response.writeHead(itemOf(body) === 1 ? status : 200).end());
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1, 1, 1, 2, 2]));
    await delivery.settled(3);
    delivery.wake(await world.append([1]));
    await until(delivery, async () => (await count(world, 'parked')) === 4);
    assert.equal(receiver.received.filter(({ body }) => itemOf(body) === 1).length, 1, 'the others had no attempt');
    assert.deepEqual(await parked(world), ['1 retry due', '2 waiting', '3 waiting', '4 waiting']);
    status = 200;
    world.clock.advance(HOUR_MS);
    await delivery.tick();
    await delivery.settled(7);
    await delivery.stop();
    assert.deepEqual(await parked(world), []);
    assertOrder(receiver);
    assert.equal(receiver.received.length, 7);
  });

  test('when the oldest dies the next one has its turn, also after a restart', async (t) => {
    const world = await createWorld(await open(t), t);
    let first = '';
    const receiver = await startReceiver(t, (_, response, { id }) => {
      first ||= id;
      response.writeHead(id === first ? 500 : 200).end();
    });
    const { endpoint } = await world.endpoint(receiver.url);
    // Before ten failures in a row open the circuit.
    const retryDelaysMs = JSON.stringify(RETRY_DELAYS_MS.slice(0, 8));
    await world.storage.transaction((tx) => tx.run(sql`update endpoints set retry_delays_ms = ${retryDelaysMs} where id = ${endpoint.id}`));
    let delivery = await world.start({ nodeId: 'node_one' });
    delivery.wake(await world.append([1, 1, 1]));
    await until(delivery, async () => (await count(world, 'parked')) === 3);
    for (const _ of range(7)) {
      world.clock.advance(2 * DAY_MS);
      const seen = delivery.reports.length;
      await delivery.tick();
      await delivery.settled(seen + 1);
    }
    await delivery.abandon();
    delivery = await world.start({ nodeId: 'node_one' });
    assert.deepEqual(await parked(world), ['1 retry due', '2 waiting', '3 waiting']);
    world.clock.advance(2 * DAY_MS);
    await until(delivery, async () => (await count(world, 'parked')) === 1);
    await delivery.stop();
    assert.deepEqual(await parked(world), ['1 dead']);
    assertOrder(receiver);
    assert.equal(receiver.received.length, 11);
  });

  test('an endpoint that asks for no order gets later events while an earlier one waits', async (t) => {
    const world = await createWorld(await open(t), t);
    let failing = '';
    const receiver = await startReceiver(t, (_, response, { id }) => {
      failing ||= id;
      response.writeHead(id === failing ? 500 : 200).end();
    });
    const { endpoint } = await world.endpoint(receiver.url);
    await world.storage.transaction((tx) => tx.run(sql`update endpoints set ordering = 'none' where id = ${endpoint.id}`));
    const delivery = await world.start();
    delivery.wake(await world.append([1, 1, 1]));
    await delivery.settled(3);
    await delivery.stop();
    assert.deepEqual(await parked(world), ['1 retry due']);
  });

  test('giving up order frees what waited', async (t) => {
    const world = await createWorld(await open(t), t);
    let failing = '';
    const receiver = await startReceiver(t, (_, response, { id }) => {
      failing ||= id;
      response.writeHead(id === failing ? 500 : 200).end();
    });
    const { endpoint } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1, 1, 1]));
    await until(delivery, async () => (await count(world, 'parked')) === 3);
    await world.storage.transaction(async (tx) => {
      await tx.run(sql`update endpoints set ordering = 'none' where id = ${endpoint.id}`);
      await tx.run(sql`update configuration set version = version + 1`);
    });
    await until(delivery, async () => (await count(world, 'parked')) === 1);
    assert.deepEqual(await parked(world), ['1 retry due']);
  });
});
