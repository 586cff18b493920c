/** Live and lagging, order and resuming, with real receivers on both engines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { deleteEndpoint, updateEndpoint } from '../endpoints/endpoints.ts';
import { enableEndpoint } from '../endpoints/resume.ts';
import { type Sql, sql } from '../storage/sql.ts';
import { audit } from './audit/audit.ts';
import { QUEUE_MAX } from './channels/channels.ts';
import { RETRY_DELAYS_MS } from './channels/retry.ts';
import { STALE_AFTER_MS } from './lanes/lease.ts';
import { createWorld, POLICY, type Receiver, type Running, startReceiver, type World } from './testing.ts';

const range = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
const context = ({ storage, vault, clock }: World) => ({ storage, vault, now: clock.now() });
const count = async ({ storage }: World, table: 'parked' | 'endpoint_positions' | 'skipped') =>
  (await storage.all(sql`select * from ${{ strings: [table], values: [], key: null }}`)).length;
const parked = async ({ storage }: World) =>
  (
    await storage.all<{ seq: number; state: string; due_at: number | null }>(sql`select seq, state, due_at from parked order by lane, seq`)
  ).map(({ seq, state, due_at }) => `${seq} ${state}${due_at === null ? '' : ' due'}`);
const disable = (world: World, id: string) => updateEndpoint(context(world), id, { enabled: false }, POLICY);
const enable = (world: World, id: string) => updateEndpoint(context(world), id, { enabled: true }, POLICY);
const itemOf = (body: string) => Number(/"item_id":(\d+)/.exec(body)![1]);

/** Beats until `reached` says so; nothing here waits for a clock. */
async function until(delivery: Running, reached: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await reached())) {
    await delivery.tick();
    await new Promise(setImmediate);
  }
}

function assertOrder(receiver: Receiver) {
  for (const [item, received] of Map.groupBy(receiver.received, ({ body }) => itemOf(body))) {
    const first = [...new Set(received.map(({ id }) => id))];
    assert.deepEqual(first, [...first].sort(), `events of item ${item} came out of order`);
  }
}

eachEngine('lagging', (open) => {
  test('a disabled endpoint costs a position for each lane and no parked rows, then catches up in order', async (t) => {
    const world = await createWorld(await open(t), t);
    const [off, on] = [await startReceiver(t), await startReceiver(t)];
    const { endpoint } = await world.endpoint(off.url);
    await world.endpoint(on.url);
    const delivery = await world.start();
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
    await delivery.tick();
    await off.until(1_800);
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 0);
    assert.equal(new Set(off.seqs()).size, 1_800);
    assert.equal(off.received.length, 1_800);
    assertOrder(off);
    assert.equal(delivery.stats().lagging, 0, 'it is live again');
  });

  test('where all endpoints are disabled nothing of the backlog is read, and a restart finds their positions', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    const first = await world.start({ nodeId: 'node_one' });
    await disable(world, endpoint.id);
    for (const _ of range(3)) first.wake(await world.append(range(500)));
    await until(first, async () => (await count(world, 'endpoint_positions')) > 40);
    await first.abandon();
    await world.append(range(500));
    const second = await world.start({ nodeId: 'node_one' });
    await enable(world, endpoint.id);
    await second.tick();
    await receiver.until(2_000);
    await until(second, async () => (await count(world, 'endpoint_positions')) === 0);
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
    const settled = async () =>
      (await world.storage.first<{ sum: number }>(sql`select cast(sum(settled) as bigint) as sum from lane_leases`))!.sum;
    await until(delivery, () => delivery.stats().delivered === 2_000 && delivery.stats().unflushed === 0);
    monotonicMs = 2_001;
    await delivery.tick();
    await until(delivery, async () => (await settled()) === 2_000);
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
    // Each start drains slowly at first: its time goes by with the beats.
    let monotonicMs = 0;
    const start = () => world.start({ nodeId: 'node_one', monotonicMs: () => monotonicMs });
    const after = (ms: number, reached: () => boolean | Promise<boolean>) => () => {
      monotonicMs += ms;
      return reached();
    };
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

eachEngine('enabling', (open) => {
  test('"from now" skips what was missed and what waited, once, and says so', async (t) => {
    const world = await createWorld(await open(t), t);
    let status = 500;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
    const { endpoint } = await world.endpoint(receiver.url);
    let delivery = await world.start({ nodeId: 'node_one' });
    delivery.wake(await world.append([1, 1, 2]));
    await until(delivery, async () => (await count(world, 'parked')) === 3);
    await disable(world, endpoint.id);
    delivery.wake(await world.append([1, 3]));
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 2);
    status = 200;
    assert.equal(await enableEndpoint(context(world), endpoint.id, 'now'), true);
    const before = receiver.received.length;
    await delivery.tick();
    delivery.wake(await world.append([1, 4]));
    await delivery.settled(before + 2);
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 0);
    assert.equal(await count(world, 'parked'), 0);
    const skipped = async () =>
      (
        await world.storage.all<{ lane: number; after_seq: number; through_seq: number }>(
          sql`select lane, after_seq, through_seq from skipped where reason = 'skipped'`,
        )
      ).reduce((sum, row) => sum + row.through_seq - row.after_seq, 0);
    // Of item 1 the two that waited and the one that was missed, one of item 2, one of item 3.
    assert.equal(await skipped(), 5);
    await delivery.abandon();
    delivery = await world.start({ nodeId: 'node_one' });
    await delivery.tick();
    delivery.wake(await world.append([3]));
    await delivery.settled(1);
    await delivery.stop();
    assert.equal(await skipped(), 5, 'a restart skips nothing more');
    assert.equal(receiver.received.length, before + 3);
  });

  test('"from now" skips what is due and waits behind a rate, and leaves alone what is under way', async (t) => {
    const world = await createWorld(await open(t), t);
    const held: (() => void)[] = [];
    let fails = true;
    const receiver = await startReceiver(t, (_, response) => {
      if (fails) response.writeHead(500).end();
      else held.push(() => response.end());
    });
    const { endpoint } = await world.endpoint(receiver.url);
    let monotonicMs = 0;
    const delivery = await world.start({ monotonicMs: () => monotonicMs });
    delivery.wake(await world.append([1, 1, 2, 3, 4, 5, 6, 7]));
    await until(delivery, async () => (await count(world, 'parked')) === 8 && delivery.stats().unflushed === 0);
    const before = receiver.received.length;
    fails = false;
    await updateEndpoint(context(world), endpoint.id, { ratePerS: 1 }, POLICY);
    await delivery.tick();
    world.clock.advance(RETRY_DELAYS_MS[0]! * 2);
    await until(delivery, () => held.length === 1 && delivery.stats().queued > 0);
    await enableEndpoint(context(world), endpoint.id, 'now');
    await delivery.tick();
    assert.equal(delivery.stats().queued, 0);
    held[0]!();
    await until(delivery, async () => (await count(world, 'parked')) === 0);
    const after = receiver.received.length;
    // The rate has more than allowed all of it meanwhile, and a new event is sent.
    monotonicMs += HOUR_MS;
    delivery.wake(await world.append([1]));
    await until(delivery, () => held.length === 2);
    held[1]!();
    await until(delivery, () => delivery.stats().underWay + delivery.stats().unflushed + delivery.stats().queued === 0);
    assert.deepEqual([after, receiver.received.length], [before + 1, before + 2]);
    const { balanced, hours } = await audit(world.storage, { from: 0 });
    assert.ok(balanced);
    const sum = (name: 'delivered' | 'skipped') => hours.reduce((total, hour) => total + hour[name], 0);
    assert.deepEqual([sum('delivered'), sum('skipped')], [2, 7]);
  });

  for (const ordering of ['item', 'none'] as const) {
    test(`"from now" reaches what is being read to be sent again, with order by ${ordering}`, async (t) => {
      const world = await createWorld(await open(t), t);
      const failing = new Set(range(5).map(String));
      const receiver = await startReceiver(t, (_, response, { body }) =>
        response.writeHead(failing.has(String(itemOf(body))) ? 500 : 200).end(),
      );
      const { endpoint } = await world.endpoint(receiver.url);
      await updateEndpoint(context(world), endpoint.id, { ordering }, POLICY);
      let onRead: (() => Promise<void>) | null = null;
      const all = async <T extends object>(query: Sql): Promise<T[]> => {
        const rows = await world.storage.all<T>(query);
        const then = query.strings.some((text) => text.includes('due_at <= ')) ? onRead : null;
        if (then) {
          onRead = null;
          await then();
        }
        return rows;
      };
      let configured = Promise.withResolvers<void>();
      const delivery = await world.start({ storage: { ...world.storage, all }, onConfiguration: () => configured.resolve() });
      delivery.wake(await world.append(range(5)));
      await until(delivery, async () => (await count(world, 'parked')) === 5 && delivery.stats().unflushed === 0);
      onRead = async () => {
        configured = Promise.withResolvers();
        await enableEndpoint(context(world), endpoint.id, 'now');
        delivery.wake(await world.append([9]));
        await configured.promise;
      };
      world.clock.advance(RETRY_DELAYS_MS[0]! * 2);
      await until(delivery, async () => onRead === null && receiver.received.length >= 6 && (await count(world, 'skipped')) > 0);
      await until(delivery, () => delivery.stats().underWay + delivery.stats().unflushed + delivery.stats().queued === 0);
      assert.deepEqual([receiver.received.length, await parked(world)], [6, []]);
      assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
    });
  }

  test('"from now" while no server runs is done by the next one', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    await disable(world, endpoint.id);
    await world.append(range(50));
    await enableEndpoint(context(world), endpoint.id, 'now');
    await world.append([1, 2]);
    const delivery = await world.start();
    await delivery.settled(2);
    await until(delivery, async () => (await count(world, 'endpoint_positions')) === 0);
    await delivery.stop();
    assert.equal(receiver.received.length, 2);
  });

  test('"from where it stopped" sends all of it', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    await disable(world, endpoint.id);
    await world.append(range(50));
    assert.equal(await enableEndpoint(context(world), endpoint.id, 'stopped'), true);
    assert.equal(await enableEndpoint(context(world), 'wh_of_nobody', 'stopped'), false);
    const delivery = await world.start();
    await delivery.settled(50);
    await delivery.stop();
    assert.equal(await count(world, 'skipped'), 0);
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
