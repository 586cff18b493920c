/** What waits behind the oldest of its item, and what becomes of it when that one ends at an awkward moment. */
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { SECOND_MS } from '../base/clock.ts';
import { type Sql, sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { createWorld, parkedRows, startReceiver, until } from './testing.ts';

/** Calls `pass` whenever it is asked when the next parked delivery is due, as if that question took long. */
function slow(real: Storage, pass: () => void): Storage {
  return {
    ...real,
    async first<T extends object>(query: Sql): Promise<T | undefined> {
      const row = await real.first<T>(query);
      if (query.strings.join('').includes('select due_at from parked where due_at >')) pass();
      return row;
    },
  };
}

eachEngine('the oldest of an item', (open) => {
  test('that is due and ends while the next one is put behind it, lets that one go', async (t) => {
    const real = await open(t);
    const world = await createWorld(real, t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    const [lane] = await world.append([1, 1]);
    // The later one is due first: an endpoint that kept no order until now.
    const now = world.clock.now();
    const dues = [
      [1, 2],
      [2, 1],
    ] as const;
    for (const [seq, seconds] of dues)
      await real.transaction((tx) =>
        tx.run(sql`
          insert into parked (endpoint_id, lane, seq, item_id, type, state, attempts, sent, due_at, parked_at)
          values (${endpoint.id}, ${lane!}, ${seq}, 1, 'item.created', 'retry', 1, 1, ${now + seconds * SECOND_MS}, ${now})`),
      );
    let monotonicMs = 0;
    let passes = false;
    const pass = () => {
      monotonicMs += SECOND_MS;
      world.clock.advance(SECOND_MS);
    };
    const storage = slow(real, () => {
      if (passes) pass();
      passes = false;
    });
    const node = await world.start({ storage, monotonicMs: () => monotonicMs });
    pass();
    passes = true;
    await until(node, () => {
      if (!passes) pass();
      return receiver.received.length === 2;
    });
    await until(node, async () => (await parkedRows(world)).length === 0);
  });
});
