/** Live and lagging, and what bounds both, with real receivers on both engines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { HOUR_MS } from '../base/clock.ts';
import { deleteEndpoint } from '../endpoints/endpoints.ts';
import { enableEndpoint } from '../endpoints/resume.ts';
import { sql } from '../storage/sql.ts';
import { QUEUE_MAX } from './channels/channels.ts';
import { STALE_AFTER_MS } from './lanes/lease.ts';
import { assertOrder, context, count, createWorld, disable, enable, range, settledSum, startReceiver, until } from './testing.ts';

/** A drain is slow at first: the time of its node goes by with the beats. */
function drainClock() {
  let now = 0;
  return {
    monotonicMs: () => now,
    after: (ms: number, reached: () => boolean | Promise<boolean>) => () => {
      now += ms;
      return reached();
    },
  };
}

eachEngine('lagging', (open) => {
  test('a disabled endpoint costs a position for each lane and no parked rows, then catches up in order', async (t) => {
    const world = await createWorld(await open(t), t);
    const [off, on] = [await startReceiver(t), await startReceiver(t)];
    const { endpoint } = await world.endpoint(off.url);
    await world.endpoint(on.url);
    const { monotonicMs, after } = drainClock();
    const delivery = await world.start({ monotonicMs });
    await disable(world, endpoint.id);
    for (const _ of range(6)) delivery.wake(await world.append(range(300)));
    await on.until(1_800);
    await until(delivery, () => delivery.stats().delivered === 1_800 && delivery.stats().unflushed === 0);
    const positions = await count(world, 'endpoint_positions');
    assert.ok(positions > 40 && positions <= 64, `${positions} positions`);
    assert.equal(await count(world, 'parked'), 0);
    assert.equal(off.received.length, 0);
    assert.ok(delivery.stats().queued === 0);
    await enable(world, endpoint.id);
    await until(
      delivery,
      after(50, async () => off.received.length >= 1_800 && (await count(world, 'endpoint_positions')) === 0),
    );
    assert.equal(new Set(off.seqs()).size, 1_800);
    assert.equal(off.received.length, 1_800);
    assertOrder(off);
    assert.equal(delivery.stats().lagging, 0, 'it is live again');
  });

  test('where all endpoints are disabled nothing of the backlog is read, and a restart finds their positions', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    const { monotonicMs, after } = drainClock();
    const first = await world.start({ nodeId: 'node_one', monotonicMs });
    await disable(world, endpoint.id);
    for (const _ of range(3)) first.wake(await world.append(range(500)));
    await until(first, async () => (await count(world, 'endpoint_positions')) > 40);
    await first.abandon();
    await world.append(range(500));
    const second = await world.start({ nodeId: 'node_one', monotonicMs });
    await enable(world, endpoint.id);
    await until(
      second,
      after(50, async () => receiver.received.length >= 2_000 && (await count(world, 'endpoint_positions')) === 0),
    );
    await second.stop();
    assert.equal(receiver.received.length, 2_000);
    assertOrder(receiver);
    assert.equal(await count(world, 'parked'), 0);
  });

  test('a hanging receiver lags after two seconds, and holds back neither the others nor its lanes', async (t) => {
    const world = await createWorld(await open(t), t);
    let hangs = true;
    const held: (() => void)[] = [];
    const hanging = await startReceiver(t, (_, response) => {
      if (hangs) held.push(() => response.end());
      else response.end();
    });
    const good = await startReceiver(t);
    await world.endpoint(hanging.url);
    await world.endpoint(good.url);
    let monotonicMs = 0;
    const delivery = await world.start({ monotonicMs: () => monotonicMs });
    delivery.wake(await world.append(range(2_000)));
    await good.until(2_000);
    await until(delivery, () => delivery.stats().delivered === 2_000 && delivery.stats().unflushed === 0);
    monotonicMs = 2_001;
    await delivery.tick();
    await until(delivery, async () => (await settledSum(world)) === 2_000);
    assert.equal(hanging.received.length, 16, 'its own concurrency and no more');
    assert.ok(delivery.stats().queued <= 500);
    assert.ok((await count(world, 'endpoint_positions')) <= 64);
    assert.equal(await count(world, 'parked'), 0);
    hangs = false;
    for (const answer of held) answer();
    await hanging.until(2_000);
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 0);
    assert.equal(hanging.received.length, 2_000);
  });

  test('a crash in the middle of catching up repeats only what was not settled', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    await disable(world, endpoint.id);
    const { monotonicMs, after } = drainClock();
    const start = () => world.start({ nodeId: 'node_one', monotonicMs });
    let delivery = await start();
    for (const _ of range(8)) delivery.wake(await world.append(range(200)));
    await until(delivery, async () => (await count(world, 'endpoint_positions')) > 40);
    await enable(world, endpoint.id);
    await delivery.tick();
    for (const step of range(5)) {
      await until(
        delivery,
        after(50, () => receiver.received.length >= step * 250),
      );
      await delivery.abandon();
      delivery = await start();
    }
    await until(
      delivery,
      after(50, async () => (await count(world, 'endpoint_positions')) === 0),
    );
    await delivery.stop();
    assert.equal(new Set(receiver.seqs()).size, 1_600);
    const delivered = await world.storage.all(sql`select distinct lane, seq from attempts where delivered = 1`);
    assert.equal(delivered.length, 1_600);
    assertOrder(receiver);
    // Five crashes; each may repeat what was under way or not yet written: a queue's worth at most.
    assert.ok(receiver.received.length - 1_600 < 5 * 600, `${receiver.received.length - 1_600} repeats`);
  });

  test('a deleted endpoint takes its positions with it, whatever is under way', async (t) => {
    const world = await createWorld(await open(t), t);
    const held: (() => void)[] = [];
    const [hanging, good] = [await startReceiver(t, (_, response) => void held.push(() => response.end())), await startReceiver(t)];
    const { endpoint } = await world.endpoint(hanging.url);
    await world.endpoint(good.url);
    let monotonicMs = 0;
    const delivery = await world.start({ monotonicMs: () => monotonicMs });
    delivery.wake(await world.append(range(300)));
    await good.until(300);
    await hanging.until(16);
    monotonicMs = 2_001;
    await delivery.tick();
    await until(delivery, async () => (await count(world, 'endpoint_positions')) > 0);
    await deleteEndpoint(context(world), endpoint.id);
    await delivery.tick();
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 0);
    for (const answer of held) answer();
    await delivery.stop();
    assert.equal(delivery.stats().queued, 0);
    assert.equal(delivery.stats().lagging, 0);
    assert.equal(hanging.received.length, 16);
  });
});

eachEngine('bounds', (open, engine) => {
  test('an endpoint for which too much is parked is given no more, until half of it is gone', async (t) => {
    const world = await createWorld(await open(t), t);
    let status = 500;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
    await world.endpoint(receiver.url);
    const parkedMax = 100;
    const delivery = await world.start({ parkedMax });
    // One item fails, and the others of its events wait behind it: many rows for one attempt.
    for (const _ of range(3)) delivery.wake(await world.append(Array.from({ length: 300 }, () => 1)));
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 1 && delivery.stats().queued === 0);
    const most = await count(world, 'parked');
    assert.ok(most > parkedMax && most <= parkedMax + QUEUE_MAX, `${most} rows`);
    assert.equal(receiver.received.length, 1);
    status = 200;
    world.clock.advance(HOUR_MS);
    await delivery.tick();
    for (let settled = 301; settled <= 901; settled += 200) {
      await delivery.settled(settled);
      assert.ok((await count(world, 'parked')) <= parkedMax + QUEUE_MAX);
    }
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 0);
    await delivery.stop();
    assert.equal(receiver.received.length, 901);
    assertOrder(receiver);
  });

  test('two nodes each move the positions of their own lanes, and a taken lane goes on where it stood', async (t) => {
    if (engine === 'sqlite') return t.skip('one node only');
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    let monotonicMs = 0;
    const first = await world.start({ nodeId: 'node_one', monotonicMs: () => monotonicMs });
    const second = await world.start({ nodeId: 'node_two', monotonicMs: () => monotonicMs });
    await disable(world, endpoint.id);
    await world.append(range(600));
    const both = async () => {
      // After an outage the requests come by and by.
      monotonicMs += 100;
      first.wake();
      second.wake();
      await Promise.all([first.tick(), second.tick()]);
      await new Promise(setImmediate);
    };
    while ((await count(world, 'endpoint_positions')) < 60) await both();
    assert.equal(await count(world, 'parked'), 0);
    await enableEndpoint(context(world), endpoint.id, 'now');
    await world.append(range(100));
    while ((await count(world, 'endpoint_positions')) > 0 || first.stats().delivered + second.stats().delivered < 100) await both();
    await first.abandon();
    await disable(world, endpoint.id);
    await world.append(range(200));
    await until(second, () => {
      monotonicMs += STALE_AFTER_MS;
      return second.stats().lanes === 64;
    });
    await enable(world, endpoint.id);
    await until(second, () => {
      monotonicMs += 100;
      return receiver.received.length >= 300;
    });
    await second.stop();
    assert.equal(receiver.received.length, 300);
    const skipped = await world.storage.all<{ after_seq: number; through_seq: number }>(sql`select after_seq, through_seq from skipped`);
    assert.equal(
      skipped.reduce((sum, row) => sum + row.through_seq - row.after_seq, 0),
      600,
    );
  });
});
