/** The heartbeat goes on whatever else there is to do: without it a node may not send, and others take its lanes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { createWorld, type Running, startReceiver, type World } from './testing.ts';

const TURNS_MAX = 5_000;

async function untilBeats({ storage }: World, count: number) {
  for (let turns = 0; turns < TURNS_MAX; turns += 1) {
    const node = await storage.first<{ beats: number }>(sql`select beats from nodes`);
    if (node!.beats >= count) return;
    await new Promise(setImmediate);
  }
  assert.fail('the heart has stopped');
}

eachEngine('the heartbeat', (open) => {
  test('does not wait for the end of reading, which under load never comes', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    let loaded = false;
    let node: Running | null = null;
    // Whenever something is read, more has been committed meanwhile.
    const storage: Storage = {
      ...world.storage,
      all(query) {
        if (loaded) node?.wake([0]);
        return world.storage.all(query);
      },
    };
    node = await world.start({ storage, heartbeatMs: 1 });
    loaded = true;
    node.wake(await world.append([1]));
    const before = await world.storage.first<{ beats: number }>(sql`select beats from nodes`);
    await untilBeats(world, before!.beats + 20);
    loaded = false;
    await node.settled(1);
  });
});
