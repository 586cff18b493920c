/** Webhooks and items that go while something is sent, or waits, for them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS } from '../base/clock.ts';
import { deleteEndpoint, findEndpoint, updateEndpoint } from '../endpoints/endpoints.ts';
import { sql } from '../storage/sql.ts';
import { audit } from './audit/audit.ts';
import { context, createWorld, POLICY, parkedRows, settledSum, startReceiver } from './testing.ts';

eachEngine('a webhook that goes', (open) => {
  test('410 disables the endpoint; its events wait, and go out when it is enabled', async (t) => {
    const world = await createWorld(await open(t), t);
    let status = 410;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
    const { endpoint } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await delivery.settled(1);
    assert.equal((await findEndpoint(world.storage, endpoint.id))?.enabled, false);
    delivery.wake(await world.append([1, 2]));
    await delivery.tick();
    await delivery.tick();
    assert.deepEqual(
      (await parkedRows(world)).map(({ state }) => state),
      ['retry'],
      'what comes later stays in the log',
    );
    assert.equal(receiver.received.length, 1);
    status = 200;
    await updateEndpoint(context(world), endpoint.id, { enabled: true }, POLICY);
    world.clock.advance(DAY_MS);
    await delivery.tick();
    await delivery.tick();
    await delivery.settled(4);
    assert.deepEqual(await parkedRows(world), []);
  });

  test('a deleted endpoint is sent nothing of what was parked for it', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t, (_, response) => response.writeHead(500).end());
    const { endpoint } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1, 2]));
    await delivery.settled(2);
    assert.equal((await parkedRows(world)).length, 2);
    assert.equal(await deleteEndpoint(context(world), endpoint.id), true);
    await delivery.tick();
    delivery.wake(await world.append([3]));
    world.clock.advance(DAY_MS);
    await delivery.tick();
    await delivery.stop();
    assert.equal(receiver.received.length, 2);
    assert.equal(await settledSum(world), 3);
  });

  for (const status of [200, 500]) {
    test(`a webhook that is deleted while it answers ${status}: its attempts are logged, and nothing more becomes of them`, async (t) => {
      const world = await createWorld(await open(t), t);
      const held: (() => void)[] = [];
      const first = await startReceiver(t, (_, response, { body }) => {
        if (body.includes('"item_id":1,') && held.length === 0) response.writeHead(500).end();
        held.push(() => response.writeHead(status).end());
      });
      const { endpoint } = await world.endpoint(first.url);
      const delivery = await world.start();
      delivery.wake(await world.append([1]));
      await delivery.settled(1);
      world.clock.advance(DAY_MS);
      delivery.wake(await world.append([2]));
      await delivery.tick();
      // A retry and a live one.
      await first.until(3);
      await deleteEndpoint(context(world), endpoint.id);
      await delivery.tick();
      for (const answer of held.slice(1)) answer();
      await delivery.settled(3);
      await delivery.stop();
      const attempts = await world.storage.all<{ item_id: number; source: string; n: number; status: number }>(
        sql`select item_id, source, n, status from attempts where endpoint_id = ${endpoint.id} order by item_id, n`,
      );
      assert.deepEqual(
        attempts.map((row) => ({ ...row })),
        [
          { item_id: 1, source: 'live', n: 1, status: 500 },
          { item_id: 1, source: 'retry', n: 2, status },
          { item_id: 2, source: 'live', n: 1, status },
        ],
      );
      assert.deepEqual(await parkedRows(world), []);
      assert.equal(await world.storage.first(sql`select endpoint_id from endpoint_health`), undefined);
      assert.equal(await settledSum(world), 2);
      const { faults, hours } = await audit(world.storage, { from: 0 });
      assert.deepEqual(faults, []);
      const sum = (name: 'delivered' | 'skipped') => hours.reduce((total, hour) => total + hour[name], 0);
      assert.deepEqual([sum('delivered'), sum('skipped')], status === 200 ? [2, 0] : [0, 2]);
    });
  }
});

eachEngine('an erased item', (open) => {
  test('is not sent any more, and nobody waits for it', async (t) => {
    const world = await createWorld(await open(t), t);
    let answerFirst = () => {};
    const receiver = await startReceiver(t, (_, response, { body }) => {
      if (body.includes('"item_id":1,')) answerFirst = () => response.end();
      else response.end();
    });
    await world.endpoint(receiver.url);
    const running = await world.start();
    await world.append([1, 1, 1, 2]);
    running.wake();
    await receiver.until(2);
    running.forgetItems(new Set([1]));
    answerFirst();
    await running.settled(2);
    await running.tick();
    assert.equal(receiver.received.filter(({ body }) => body.includes('"item_id":1,')).length, 1);
    const behind = await world.storage.first<{ lanes: number }>(
      sql`select count(*) as lanes from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head`,
    );
    assert.equal(behind!.lanes, 0);
  });
});
