/** Enabling a webhook: from now, or from where it stopped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { HOUR_MS } from '../base/clock.ts';
import { updateEndpoint } from '../endpoints/endpoints.ts';
import { enableEndpoint } from '../endpoints/resume.ts';
import { type Sql, sql } from '../storage/sql.ts';
import { audit } from './audit/audit.ts';
import { RETRY_DELAYS_MS } from './channels/retry.ts';
import { context, count, createWorld, disable, itemOf, POLICY, parked, range, startReceiver, until } from './testing.ts';

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
