/** One of two nodes loses its database for ten seconds, in the middle of its work, and gets it back. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { openEngine } from '../../test/support/engines.ts';
import { HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { audit } from './audit/audit.ts';
import { createWorld, startReceiver } from './testing.ts';

const ITEMS = Array.from({ length: 40 }, (_, index) => index + 1);
const itemIdOf = (body: string) => Number(/"item_id":(\d+)/.exec(body)![1]);

/** A database that answers, refuses, or says nothing until it is back. */
function createLine(storage: Storage) {
  let state: 'up' | 'refuses' | 'hangs' = 'up';
  const waiting: (() => void)[] = [];
  const pass = async <T>(ask: () => Promise<T>): Promise<T> => {
    if (state === 'refuses') throw new Error('the database is away');
    if (state === 'hangs') await new Promise<void>((resolve) => waiting.push(resolve));
    return ask();
  };
  const line: Storage = {
    ...storage,
    all: (query) => pass(() => storage.all(query)),
    first: (query) => pass(() => storage.first(query)),
    transaction: (work) => pass(() => storage.transaction(work)),
    alone: { first: (query) => pass(() => storage.alone.first(query)), run: (query) => pass(() => storage.alone.run(query)) },
  };
  return {
    storage: line,
    break(how: 'refuses' | 'hangs') {
      state = how;
    },
    mend() {
      state = 'up';
      for (const resolve of waiting.splice(0)) resolve();
    },
  };
}

suite('a database that is away from one of two nodes for ten seconds', () => {
  for (const how of ['refuses', 'hangs'] as const) {
    test(`and ${how}: the other one takes over, and nothing is lost, out of order or in two places`, async (t) => {
      const world = await createWorld(await openEngine('postgres', t), t);
      const failing = new Set<string>();
      const receiver = await startReceiver(t, (_, response, { id, body }) => {
        // Every fourth item is refused at first, so that rows are parked and due while lanes go over.
        const refused = itemIdOf(body) % 4 === 0 && !failing.has(id);
        failing.add(id);
        response.writeHead(refused ? 500 : 200).end();
      });
      await world.endpoint(receiver.url);
      const line = createLine(world.storage);
      let now = 0;
      const start = (nodeId: string, storage = world.storage) =>
        world.start({ nodeId, storage, monotonicMs: () => now, heartbeatMs: HOUR_MS });
      const [one, two] = [await start('node_one', line.storage), await start('node_two')];
      const stuck: Promise<void>[] = [];
      let away = false;
      const beat = async () => {
        if (away) stuck.push(one.tick());
        else await one.tick();
        await two.tick();
        now += SECOND_MS;
        world.clock.advance(2 * SECOND_MS);
        await new Promise(setImmediate);
      };
      while (one.stats().lanes !== 32 || two.stats().lanes !== 32) await beat();
      const append = async () => {
        const lanes = await world.append(ITEMS);
        for (const node of [one, two]) node.wake(lanes);
      };
      await append();
      await receiver.until(10);
      away = true;
      line.break(how);
      for (let seconds = 0; seconds < 10; seconds += 1) {
        await append();
        await beat();
      }
      assert.equal(two.stats().lanes, 64);
      line.mend();
      away = false;
      await Promise.all(stuck);
      await append();
      const left = async () =>
        (await world.storage.first<{ count: number }>(
          sql`select (select count(*) from parked) + (select count(*) from endpoint_positions)
                + (select count(*) from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head) as count`,
        ))!.count;
      for (let beats = 0; (await left()) > 0; beats += 1) {
        assert.ok(beats < 300, 'it does not come to an end');
        await beat();
      }
      assert.deepEqual([one.stats().lanes, two.stats().lanes], [32, 32]);
      assert.equal(new Set(receiver.seqs()).size, 12 * ITEMS.length);
      for (const [item, received] of Map.groupBy(receiver.received, ({ body }) => itemIdOf(body))) {
        const first = [...new Set(received.map(({ id }) => id))];
        assert.deepEqual(first, [...first].sort(), `of item ${item}`);
      }
      assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
    });
  }
});
