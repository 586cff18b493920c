/** From the log to receivers: everything once and in order, across stops, crashes, retries and other nodes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { updateEndpoint } from '../endpoints/endpoints.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { silentLog } from '../telemetry/log.ts';
import { RETRY_DELAYS_MS } from './channels/retry.ts';
import { createLane, type Lane } from './lanes/lane.ts';
import { createLeases, STALE_AFTER_MS } from './lanes/lease.ts';
import { SUSPECT_AFTER_MS } from './lanes/sharing.ts';
import { LaneLost, settle } from './settling/settle.ts';
import { context, createWorld, POLICY, parkedRows, range, settledSum, startReceiver } from './testing.ts';

eachEngine('delivery', (open) => {
  test('every event arrives, in order for each item, whatever is written meanwhile', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    for (const round of range(20)) {
      await Promise.all([world.append([1, 2, 3, round + 100]), world.append([2, 1, round + 200])]);
      delivery.wake();
    }
    await delivery.settled(140);
    await delivery.stop();
    assert.equal(new Set(receiver.seqs()).size, 140);
    assert.equal(receiver.received.length, 140);
    assert.equal(await settledSum(world), 140);
    const ofItem = receiver.received.filter(({ body }) => body.includes('"item_id":1,')).map(({ id }) => id);
    assert.equal(ofItem.length, 40);
    assert.deepEqual(ofItem, [...ofItem].sort());
  });

  test('only endpoints of the application whose filter has the type, from their creation on', async (t) => {
    const world = await createWorld(await open(t), t);
    const [all, deleted] = [await startReceiver(t), await startReceiver(t)];
    await world.append([1]);
    await world.endpoint(all.url);
    const { endpoint } = await world.endpoint(deleted.url, ['item.account.deleted']);
    const delivery = await world.start();
    delivery.wake(await world.append([2]));
    delivery.wake(await world.append([2], 'item.account.deleted'));
    await delivery.settled(3);
    assert.equal(all.received.length, 2);
    assert.equal(deleted.received.length, 1);
    await updateEndpoint(context(world), endpoint.id, { events: ['item.created'] }, POLICY);
    delivery.wake(await world.append([3]));
    await delivery.settled(5);
    assert.equal(deleted.received.length, 2);
  });

  test('a stop and a start lose nothing and repeat nothing', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const first = await world.start();
    first.wake(await world.append(range(50)));
    await first.settled(50);
    await first.stop();
    await world.append(range(50, 100));
    const second = await world.start();
    await second.settled(50);
    await second.stop();
    assert.equal(new Set(receiver.seqs()).size, 100);
    assert.equal(receiver.received.length, 100);
  });

  test('a crash loses nothing, and repeats only what was not settled', async (t) => {
    const world = await createWorld(await open(t), t);
    const held = new Set<() => void>();
    let holding = true;
    const receiver = await startReceiver(t, (_, response, { body }) => {
      if (holding && body.includes('"item_id":7,')) held.add(() => response.end());
      else response.end();
    });
    await world.endpoint(receiver.url);
    const first = await world.start({ nodeId: 'node_one' });
    // Item 7 is never answered: its lane's settled position stays behind what its successors have reached.
    first.wake(await world.append([7, ...range(30, 7 + 64)]));
    first.wake(await world.append([...range(30, 7 + 64), 8]));
    await first.settled(61);
    await first.abandon();
    holding = false;
    const before = receiver.received.length;
    assert.equal(before, 62);
    const second = await world.start({ nodeId: 'node_one' });
    await second.settled(1);
    await second.stop();
    assert.equal(receiver.received.length, 63, 'only item 7 is sent again');
    assert.equal(await settledSum(world), 62);
  });

  test('a failure is tried again by the schedule with the same body, and in the end is dead', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t, (_, response) => response.writeHead(500).end('broken'));
    const { endpoint } = await world.endpoint(receiver.url);
    // Its own, and short enough to end before ten failures in a row open the circuit.
    const delaysMs = RETRY_DELAYS_MS.slice(0, 8);
    await updateEndpoint(context(world), endpoint.id, { retryDelaysMs: delaysMs }, POLICY);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await delivery.settled(1);
    for (const [index, delayMs] of delaysMs.entries()) {
      assert.deepEqual(await parkedRows(world), [{ state: 'retry', attempts: index + 1, due_at: world.clock.now() + delayMs }]);
      world.clock.advance(delayMs - 1);
      await delivery.tick();
      assert.equal(receiver.received.length, index + 1, 'not before it is due');
      world.clock.advance(1);
      await delivery.tick();
      await delivery.settled(index + 2);
    }
    assert.deepEqual(await parkedRows(world), [{ state: 'dead', attempts: 9, due_at: null }]);
    assert.equal(new Set(receiver.received.map(({ body, id }) => body + id)).size, 1);
    const attempts = await world.storage.all<{ source: string; n: number; failure: string; snippet: string }>(
      sql`select source, n, failure, snippet from attempts order by n`,
    );
    assert.deepEqual(
      attempts.map(({ n }) => n),
      range(9),
    );
    assert.deepEqual({ ...attempts[8] }, { source: 'retry', n: 9, failure: 'status', snippet: 'broken' });
  });

  test('a retry that is received ends its row', async (t) => {
    const world = await createWorld(await open(t), t);
    let status = 503;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1, 2, 3]));
    await delivery.settled(3);
    status = 204;
    world.clock.advance(DAY_MS);
    await delivery.tick();
    await delivery.settled(6);
    assert.deepEqual(await parkedRows(world), []);
    assert.equal(await settledSum(world), 3);
  });

  test('a receiver that hangs delays no other, and gets its events when it is back', async (t) => {
    const world = await createWorld(await open(t), t);
    let hangs = true;
    const hanging = await startReceiver(t, (_, response) => {
      if (!hangs) response.end();
    });
    const good = await startReceiver(t);
    await world.endpoint(hanging.url);
    await world.endpoint(good.url);
    let monotonicMs = 0;
    const delivery = await world.start({ deadlineMs: 1_000, monotonicMs: () => monotonicMs });
    delivery.wake(await world.append(range(1_500)));
    await good.until(500);
    // The queue of the hanging one is full and does not move: after the patience of reading, the rest is put aside.
    monotonicMs = 1_100;
    await good.until(1_500);
    hangs = false;
    monotonicMs = 3_000;
    const arrived = () => delivery.reports.filter(({ failure }) => failure === null).length;
    while (arrived() < 3_000) {
      world.clock.advance(HOUR_MS);
      monotonicMs += 1_000;
      await delivery.tick();
      await new Promise(setImmediate);
    }
    assert.equal(new Set(hanging.seqs()).size, 1_500);
    assert.equal(good.received.length, 1_500);
    await delivery.stop();
    assert.deepEqual(await parkedRows(world), []);
    assert.equal(await settledSum(world), 1_502, 'and the two events that tell operators of it');
  });

  test('crashing again and again loses nothing', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    for (const round of range(8)) {
      const delivery = await world.start({ nodeId: 'node_one' });
      delivery.wake(await world.append(range(40, round * 1_000)));
      await receiver.until(round * 40 - 30);
      await delivery.abandon();
    }
    const last = await world.start({ nodeId: 'node_one' });
    while ((await settledSum(world)) !== 320) {
      await last.tick();
      await new Promise(setImmediate);
    }
    assert.equal(new Set(receiver.seqs()).size, 320);
  });

  test('delivery pauses while the database refuses, and loses nothing', async (t) => {
    const world = await createWorld(await open(t), t);
    const held: (() => void)[] = [];
    let holding = true;
    const receiver = await startReceiver(t, (_, response) => {
      if (holding) held.push(() => response.end());
      else response.end();
    });
    await world.endpoint(receiver.url);
    let down = false;
    const away = () => Promise.reject(new Error('the database is away'));
    const storage: Storage = {
      ...world.storage,
      transaction: (work) => (down ? away() : world.storage.transaction(work)),
      alone: { ...world.storage.alone, first: (query) => (down ? away() : world.storage.alone.first(query)) },
    };
    const lines: string[] = [];
    const log = { ...silentLog, error: (_: unknown, message: string) => void lines.push(message) };
    const delivery = await world.start({ storage, log });
    delivery.wake(await world.append(range(20)));
    await receiver.until(16);
    down = true;
    holding = false;
    for (const answer of held) answer();
    await delivery.tick();
    await delivery.tick();
    assert.equal(lines.length, 1);
    assert.equal(delivery.reports.length, 0);
    down = false;
    await delivery.tick();
    await delivery.settled(20);
    await delivery.stop();
    assert.equal(new Set(receiver.seqs()).size, 20);
    assert.equal(await settledSum(world), 20);
  });

  test('what settles under an older epoch is refused whole', async (t) => {
    const world = await createWorld(await open(t), t);
    const storage = world.storage;
    const lease = async (owner: string) => {
      let now = 0;
      const leases = createLeases({ storage, owner, monotonicMs: () => now });
      t.after(() => leases.abandon());
      await leases.renew();
      now = STALE_AFTER_MS;
      await leases.renew();
      const [first] = await leases.acquire();
      return createLane(first!.lane, first!.epoch, first!.settled);
    };
    const old = await lease('node_one');
    const current = await lease('node_two');
    const write = (owner: string, lane: Lane) =>
      settle(storage, {
        owner,
        now: 0,
        results: [],
        positions: [{ lane, settled: 9 }],
        lagging: [],
        released: [],
        revive: [],
        repeated: false,
      });
    await assert.rejects(write('node_one', old), LaneLost);
    assert.equal(await settledSum(world), 0);
    await write('node_two', current);
    assert.equal(await settledSum(world), 9);
  });

  test('a node takes over what another has let go of', async (t) => {
    const storage = await open(t);
    if (storage.engine === 'sqlite') return t.skip('one node only');
    const world = await createWorld(storage, t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const first = await world.start({ nodeId: 'node_one' });
    let monotonicMs = 0;
    const second = await world.start({ nodeId: 'node_two', monotonicMs: () => monotonicMs });
    assert.equal(first.stats().lanes, 64);
    assert.equal(second.stats().lanes, 0);
    await first.abandon();
    await second.tick();
    assert.equal(second.stats().lanes, 0);
    monotonicMs = SUSPECT_AFTER_MS;
    await second.tick();
    assert.equal(second.stats().lanes, 64, 'it beats no more, and its session has ended');
    second.wake(await world.append([1]));
    await second.settled(1);
    await second.stop();
    const third = await world.start();
    assert.equal(third.stats().lanes, 64, 'a clean stop hands over at once');
  });
});
