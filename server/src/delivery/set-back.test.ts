/** A wall clock that was far ahead and is set right: what waits does not wait for the time that was wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { explaining } from '../../test/support/explain.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import { sql } from '../storage/sql.ts';
import { bringWithinReach, DUE_WITHIN_MAX_MS, outOfReach } from './settling/reach.ts';
import { createWorld, startReceiver, until } from './testing.ts';

const AHEAD_MS = 400 * DAY_MS;
const LANES = Array.from({ length: 64 }, (_, lane) => lane);

eachEngine('a clock that is set back', (open) => {
  for (const restarted of [false, true]) {
    test(`lets retries go on at once${restarted ? ', also after a restart' : ''}`, async (t) => {
      const world = await createWorld(await open(t), t);
      let status = 500;
      const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
      await world.endpoint(receiver.url);
      world.clock.advance(AHEAD_MS);
      let node = await world.start({ heartbeatMs: HOUR_MS });
      node.wake(await world.append([1, 1, 2]));
      await node.settled(2);
      status = 200;
      if (restarted) await node.stop();
      world.clock.advance(-AHEAD_MS);
      if (restarted) node = await world.start({ heartbeatMs: HOUR_MS });
      await until(node, () => new Set(receiver.seqs()).size === 3 && node.stats().unflushed === 0);
      const parked = await world.storage.first<{ count: number }>(sql`select count(*) as count from parked`);
      assert.equal(parked?.count, 0);
    });
  }

  test('leaves alone what a schedule can have set', async (t) => {
    const { storage, clock } = await createWorld(await open(t), t);
    const now = clock.now();
    const due = [now - 1, now + 5 * SECOND_MS, now + DUE_WITHIN_MAX_MS, now + DUE_WITHIN_MAX_MS + 1];
    await storage.transaction((tx) =>
      tx.insertMany(
        'parked',
        ['endpoint_id', 'lane', 'seq', 'state', 'attempts', 'due_at', 'parked_at'],
        due.map((dueAt, seq) => ['wh', 1, seq, 'retry', 1, dueAt, now]),
      ),
    );
    const reader = explaining(storage);
    assert.equal((await reader.all(outOfReach(LANES, now))).length, 1);
    reader.assertNoFullScan(['parked']);
    await bringWithinReach(storage, LANES, now);
    const rows = await storage.all<{ due_at: number }>(sql`select due_at from parked order by seq`);
    assert.deepEqual(
      rows.map(({ due_at }) => due_at),
      [...due.slice(0, 3), now],
    );
  });

  test('lets an open circuit be probed within the longest interval, and a pause end within the longest pause', async (t) => {
    const world = await createWorld(await open(t), t);
    const answers = { failing: 500, pausing: 429 };
    const taken = { failing: 0, pausing: 0 };
    const receiverOf = (name: keyof typeof answers) =>
      startReceiver(t, (_, response) => {
        if (answers[name] === 200) taken[name] += 1;
        response.writeHead(answers[name], { 'retry-after': '60' }).end();
      });
    for (const name of ['failing', 'pausing'] as const) await world.endpoint((await receiverOf(name)).url, ['item.created']);
    const states = () =>
      world.storage.all<{ circuit: string; next_probe_at: number | null; paused_until: number | null }>(
        sql`select circuit, next_probe_at, paused_until from endpoint_health order by circuit`,
      );
    world.clock.advance(AHEAD_MS);
    const node = await world.start({ heartbeatMs: HOUR_MS });
    node.wake(await world.append(Array.from({ length: 30 }, (_, item) => item)));
    await until(node, async () => {
      const [paused, opened] = await states();
      return opened?.circuit === 'open' && paused?.paused_until != null && node.stats().underWay + node.stats().unflushed === 0;
    });
    Object.assign(answers, { failing: 200, pausing: 200 });
    world.clock.advance(-AHEAD_MS);
    await until(node, async () => (await states()).every((row) => (row.next_probe_at ?? row.paused_until)! < world.clock.now() + DAY_MS));
    world.clock.advance(15 * MINUTE_MS);
    await until(node, () => taken.failing === 30);
    assert.equal(taken.pausing, 0, 'what the receiver asked for is kept as far as it could have asked');
    world.clock.advance(6 * HOUR_MS);
    await until(node, () => taken.pausing === 30);
  });
});
