/** An endpoint that fails: its circuit, its probes, its pauses, its end and its return. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import { findEndpoint, updateEndpoint } from '../endpoints/endpoints.ts';
import { enableEndpoint } from '../endpoints/resume.ts';
import { EVENT_TYPES, OPERATIONAL_TYPES } from '../events/catalogue.ts';
import { sql } from '../storage/sql.ts';
import { audit } from './audit/audit.ts';
import { context, createWorld, POLICY, range, startReceiver } from './testing.ts';
import { count, health, moody, rests, startNode, told, until } from './testing-failures.ts';

eachEngine('an endpoint that fails', (open) => {
  test('takes nothing from a neighbour whose answer is still out when its circuit opens', async (t) => {
    const world = await createWorld(await open(t), t);
    const { answer } = moody(500);
    const failing = await startReceiver(t, answer);
    const hanging = await startReceiver(t, () => {});
    await world.endpoint(failing.url, ['item.created']);
    await world.endpoint(hanging.url, ['item.created']);
    const { delivery } = await startNode(world);
    // One at a time, so that the one that opens the circuit was live and is the newest of its lane.
    for (const item of range(12)) {
      await world.append([item]);
      delivery.wake();
      await failing.until(Math.min(item, 10));
    }
    await delivery.settled(10);
    await delivery.tick();
    const { balanced, faults } = await audit(world.storage, { from: 0 });
    assert.deepEqual(faults, []);
    assert.ok(balanced);
  });

  test('at an address that was changed meanwhile: the new one is tried at once, and the old one speaks for it no more', async (t) => {
    const world = await createWorld(await open(t), t);
    const held: (() => void)[] = [];
    const before = await startReceiver(t, (_, response) => void held.push(() => response.writeHead(410).end()));
    const after = await startReceiver(t);
    const { endpoint } = await world.endpoint(before.url);
    const node = await startNode(world);
    node.delivery.wake(await world.append([1]));
    await before.until(1);
    await updateEndpoint(context(world), endpoint.id, { url: after.url }, POLICY);
    await node.delivery.tick();
    held[0]!();
    await node.delivery.settled(1);
    await until(node, () => node.delivery.reports.length === 2);
    assert.deepEqual([after.received.length, await count(world, 'parked', endpoint.id)], [1, 0]);
    assert.equal((await findEndpoint(world.storage, endpoint.id))?.disabledReason, null);
  });

  for (const change of ['url', 'header', 'name'] as const) {
    test(`and asked for a pause of hours: with another ${change} it ${change === 'name' ? 'pauses on' : 'is tried at once'}`, async (t) => {
      const world = await createWorld(await open(t), t);
      const before = await startReceiver(t, (request, response) => {
        if (request.headers['x-api-key'] === undefined) response.writeHead(429, { 'retry-after': '21600' });
        response.end();
      });
      const after = await startReceiver(t);
      const { endpoint } = await world.endpoint(before.url);
      const node = await startNode(world);
      node.delivery.wake(await world.append([1]));
      await until(node, async () => (await health(world, endpoint.id)) !== undefined && rests(node));
      const changes = { url: { url: after.url }, header: { customHeaders: [['X-Api-Key', 'k']] }, name: { name: 'other' } } as const;
      await updateEndpoint(context(world), endpoint.id, changes[change], POLICY);
      node.delivery.wake(await world.append([2]));
      for (const _ of range(5)) await until(node, () => rests(node));
      const delivered = () => node.delivery.stats().delivered;
      if (change === 'name') assert.equal(delivered(), 0);
      else await until(node, () => delivered() === 1);
      assert.deepEqual([before.received.length, after.received.length], change === 'url' ? [1, 1] : [change === 'header' ? 2 : 1, 0]);
    });
  }

  test('long enough to be probed gets a new address: that is sent all at once, and tells of its recovery once it has answered', async (t) => {
    const world = await createWorld(await open(t), t);
    const before = await startReceiver(t, (_, response) => response.writeHead(500).end());
    const held: (() => void)[] = [];
    const after = await startReceiver(t, (_, response) => void held.push(() => response.end()));
    const { endpoint } = await world.endpoint(before.url, ['item.created']);
    const node = await startNode(world);
    const rests = () => node.delivery.stats().queued + node.delivery.stats().underWay + node.delivery.stats().unflushed === 0;
    node.delivery.wake(await world.append(range(40)));
    await until(node, async () => (await health(world, endpoint.id))?.circuit === 'open' && rests());
    const parked = await count(world, 'parked', endpoint.id);
    await updateEndpoint(context(world), endpoint.id, { url: after.url }, POLICY);
    await until(node, () => held.length === 1);
    // Nothing else is under way, and yet nothing is known of the new address.
    for (const _ of range(3)) await until(node, () => true);
    assert.deepEqual([(await health(world, endpoint.id))?.circuit, await told(world)], ['half_open', ['failing']]);
    await until(node, () => {
      for (const answer of held.splice(0)) answer();
      return after.received.length === 40 - parked;
    });
    await until(node, async () => {
      for (const answer of held.splice(0)) answer();
      return (await health(world, endpoint.id))?.circuit === 'closed';
    });
    assert.deepEqual(await told(world), ['failing', 'recovered']);
  });

  test('a little has what it failed counted for its address alone', async (t) => {
    const world = await createWorld(await open(t), t);
    const { answer } = moody(500);
    const [before, after] = [await startReceiver(t, answer), await startReceiver(t, answer)];
    const { endpoint } = await world.endpoint(before.url);
    const node = await startNode(world);
    const rests = () => node.delivery.stats().queued + node.delivery.stats().underWay + node.delivery.stats().unflushed === 0;
    node.delivery.wake(await world.append(range(9)));
    await until(node, () => node.delivery.stats().failed === 9 && rests());
    await updateEndpoint(context(world), endpoint.id, { url: after.url }, POLICY);
    await node.delivery.tick();
    node.delivery.wake(await world.append(range(9, 100)));
    await until(node, () => node.delivery.stats().failed === 18 && rests());
    assert.deepEqual([after.received.length, await told(world)], [9, []]);
    node.delivery.wake(await world.append([200]));
    await until(node, async () => (await told(world)).length === 1);
  });

  test('and is enabled meanwhile tells that it has recovered, as it told that it fails; where it fails on, it is probed again', async (t) => {
    const world = await createWorld(await open(t), t);
    const { state, answer } = moody(500);
    const receiver = await startReceiver(t, answer);
    const { endpoint } = await world.endpoint(receiver.url, ['item.created']);
    const node = await startNode(world);
    const circuit = async () => (await health(world, endpoint.id))?.circuit;
    node.delivery.wake(await world.append(range(12)));
    await until(node, async () => (await circuit()) === 'open' && rests(node));
    await enableEndpoint(context(world), endpoint.id, 'stopped');
    // All of it keeps its time: nothing is sent, and nothing has recovered.
    for (const _ of range(3)) await until(node, () => rests(node));
    const tried = receiver.received.length;
    assert.deepEqual([await circuit(), await told(world)], ['half_open', ['failing']]);
    world.clock.advance(MINUTE_MS);
    await until(node, async () => (await circuit()) === 'open' && rests(node));
    assert.ok(receiver.received.length <= tried + 4, 'three failures in a row are enough');
    state.status = 200;
    await enableEndpoint(context(world), endpoint.id, 'stopped');
    await until(node, async () => {
      world.clock.advance(MINUTE_MS);
      return state.taken.size === 12 && (await circuit()) === 'closed';
    });
    assert.deepEqual(await told(world), ['failing', 'recovered']);
  });

  test('loses no attempt while its circuit is open, is probed, drains when it is back, and disturbs nobody', async (t) => {
    const world = await createWorld(await open(t), t);
    const { state, answer } = moody(500);
    const [failing, good] = [await startReceiver(t, answer), await startReceiver(t)];
    const { endpoint } = await world.endpoint(failing.url, ['item.created']);
    await world.endpoint(good.url, [...EVENT_TYPES, ...OPERATIONAL_TYPES]);
    const node = await startNode(world);
    node.delivery.wake(await world.append(range(300)));
    // 300 events and the one that tells of the failing one.
    await until(node, () => good.received.length === 301);
    await until(node, async () => (await health(world, endpoint.id))?.circuit === 'open' && node.delivery.stats().queued === 0);
    const tried = failing.received.length;
    assert.ok(tried >= 10 && tried <= 26, `${tried}`);
    assert.ok((await count(world, 'parked', endpoint.id)) <= 26);
    assert.ok((await count(world, 'endpoint_positions', endpoint.id)) <= 64);
    const attemptsOf = () =>
      world.storage.all<{ lane: number; seq: number; attempts: number }>(
        sql`select lane, seq, attempts from parked where endpoint_id = ${endpoint.id} and attempts > 0 order by lane, seq`,
      );
    const before = await attemptsOf();

    // A day of probes: none of them, and no time, costs an attempt.
    const end = world.clock.now() + DAY_MS;
    let probes = 0;
    while (world.clock.now() < end) {
      const nextProbeAt = (await health(world, endpoint.id))!.next_probe_at!;
      world.clock.advance(nextProbeAt - world.clock.now());
      probes += 1;
      await until(node, async () => (await health(world, endpoint.id))!.probes === probes && node.delivery.stats().unflushed === 0);
    }
    assert.ok(probes > 90);
    assert.equal(failing.received.length, tried + probes);
    assert.deepEqual(await attemptsOf(), before);
    assert.ok((await count(world, 'parked', endpoint.id)) <= 26, 'and parks nothing more');
    const logged = await world.storage.first<{ count: number }>(
      sql`select count(*) as count from attempts where source = 'probe' and delivered = 0`,
    );
    assert.equal(logged?.count, probes);

    node.delivery.wake(await world.append(range(50, 1_000)));
    await until(node, () => good.received.length === 351);
    assert.equal(failing.received.length, tried + probes, 'what comes meanwhile waits in the log');

    state.status = 200;
    world.clock.advance(15 * MINUTE_MS);
    await until(node, () => state.taken.size === 350);
    await until(node, async () => (await health(world, endpoint.id))?.circuit === 'closed');
    await until(node, () => good.received.length === 352);
    const told = good.received.map(({ body }) => JSON.parse(body).type as string).filter((type) => type.startsWith('pontage.'));
    assert.deepEqual(told, ['pontage.endpoint.failing', 'pontage.endpoint.recovered']);
    await node.delivery.stop();
    assert.equal(await count(world, 'parked', endpoint.id), 0);
    const probed = await world.storage.first<{ count: number }>(
      sql`select count(*) as count from attempts where source = 'probe' and delivered = 1`,
    );
    assert.equal(probed?.count, 1);
  });

  test('is probed with the next event at its position where nothing of it is parked', async (t) => {
    const world = await createWorld(await open(t), t);
    const { state, answer } = moody(500);
    const receiver = await startReceiver(t, answer);
    const { endpoint } = await world.endpoint(receiver.url, ['item.account.deleted']);
    await updateEndpoint(context(world), endpoint.id, { retryDelaysMs: [1_000] }, POLICY);
    const node = await startNode(world);
    node.delivery.wake(await world.append(range(8), 'item.account.deleted'));
    await node.delivery.settled(8);
    world.clock.advance(2_000);
    await until(node, async () => (await health(world, endpoint.id))?.circuit === 'open' && node.delivery.stats().underWay === 0);
    await world.storage.transaction((tx) => tx.run(sql`delete from parked where endpoint_id = ${endpoint.id} and state <> 'dead'`));
    await node.delivery.abandon();
    const again = await startNode(world);
    again.delivery.wake(await world.append(range(30, 100)));
    again.delivery.wake(await world.append([7, 8], 'item.account.deleted'));
    state.status = 200;
    world.clock.advance(MINUTE_MS);
    const delivered = () => world.storage.all<{ source: string }>(sql`select source from attempts where delivered = 1`);
    await until(again, async () => (await delivered()).length === 2);
    const sources = await delivered();
    assert.equal(sources.filter(({ source }) => source === 'probe').length, 1);
  });

  test('that asks for a pause gets it, it costs no attempt, and every answer is in the log', async (t) => {
    const world = await createWorld(await open(t), t);
    const { state, answer } = moody(429, { 'retry-after': '60' });
    const receiver = await startReceiver(t, answer);
    const { endpoint } = await world.endpoint(receiver.url);
    const node = await startNode(world);
    node.delivery.wake(await world.append(range(100)));
    await node.delivery.settled(1);
    await until(node, async () => (await health(world, endpoint.id)) !== undefined && node.delivery.stats().underWay === 0);
    assert.equal((await health(world, endpoint.id))?.paused_until, world.clock.now() + MINUTE_MS);
    const tried = receiver.received.length;
    assert.ok(tried <= 16);
    world.clock.advance(MINUTE_MS - 1);
    for (const _ of range(3)) await until(node, () => true);
    await node.delivery.tick();
    assert.equal(receiver.received.length, tried, 'not a moment earlier');
    world.clock.advance(1);
    await until(node, () => receiver.received.length > tried && rests(node));
    const rows = await world.storage.all<{ attempts: number; sent: number }>(sql`select attempts, sent from parked`);
    assert.ok(rows.every(({ attempts }) => attempts === 0));
    const { sent } = (await world.storage.first<{ sent: number }>(sql`select cast(sum(sent) as bigint) as sent from parked`))!;
    assert.equal(sent, receiver.received.length);
    state.status = 200;
    world.clock.advance(MINUTE_MS);
    await until(node, () => state.taken.size === 100);
    await node.delivery.stop();
    const logged = await world.storage.first<{ count: number }>(sql`select count(*) as count from attempts`);
    assert.equal(logged?.count, receiver.received.length);
    assert.equal(await count(world, 'parked', endpoint.id), 0);
  });

  test('stays at the tail during a short pause', async (t) => {
    const world = await createWorld(await open(t), t);
    const { state, answer } = moody(503, { 'retry-after': '3' });
    const receiver = await startReceiver(t, answer);
    const { endpoint } = await world.endpoint(receiver.url);
    const node = await startNode(world);
    node.delivery.wake(await world.append(range(40)));
    await node.delivery.settled(1);
    assert.equal(await count(world, 'endpoint_positions', endpoint.id), 0);
    assert.ok(node.delivery.stats().queued > 0);
    await until(node, () => node.delivery.stats().underWay === 0);
    state.status = 200;
    world.clock.advance(3 * SECOND_MS);
    await node.delivery.tick();
    await until(node, () => state.taken.size === 40);
  });

  test('is disabled after five days of failed probes, with the reason; enabled, it begins anew', async (t) => {
    const world = await createWorld(await open(t), t);
    const { state, answer } = moody(500);
    const receiver = await startReceiver(t, answer);
    const { endpoint } = await world.endpoint(receiver.url, ['item.created']);
    const node = await startNode(world);
    node.delivery.wake(await world.append(range(20)));
    // With all answers: one that comes after the clock has moved would be the failure from which the first probe counts.
    await until(node, async () => (await health(world, endpoint.id))?.circuit === 'open' && rests(node));
    const row = () =>
      world.storage.first<{ enabled: number; disabled_reason: string | null; disabled_at: number | null }>(
        sql`select enabled, disabled_reason, disabled_at from endpoints where id = ${endpoint.id}`,
      );
    for (let probe = 1; probe <= 20; probe += 1) {
      assert.equal((await row())?.enabled, 1);
      world.clock.advance(6 * HOUR_MS);
      const before = receiver.received.length;
      await until(node, async () => receiver.received.length > before && (await health(world, endpoint.id))!.probes === probe);
    }
    await until(node, async () => (await row())?.enabled === 0);
    assert.deepEqual({ ...(await row()) }, { enabled: 0, disabled_reason: 'failing', disabled_at: world.clock.now() });
    state.status = 200;
    await updateEndpoint(context(world), endpoint.id, { enabled: true }, POLICY);
    assert.equal((await health(world, endpoint.id))?.circuit, 'half_open');
    await until(node, () => {
      world.clock.advance(HOUR_MS);
      return state.taken.size === 20;
    });
    await until(node, async () => (await health(world, endpoint.id))?.circuit === 'closed');
    assert.deepEqual(await told(world), ['failing', 'disabled', 'recovered']);
  });

  test('has its rate kept, also while it drains', async (t) => {
    const world = await createWorld(await open(t), t);
    const times: number[] = [];
    const receiver = await startReceiver(t, (_, response) => {
      times.push(performance.now());
      response.end();
    });
    const { endpoint } = await world.endpoint(receiver.url);
    await updateEndpoint(context(world), endpoint.id, { ratePerS: 40 }, POLICY);
    const delivery = await world.start();
    delivery.wake(await world.append(range(60)));
    await delivery.settled(60);
    const seconds = (times.at(-1)! - times[0]!) / 1_000;
    assert.ok(seconds >= 59 / 40 - 0.05, `60 in ${seconds} s`);
  });
});
