import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { systemClock } from '../../base/clock.ts';
import { sql } from '../../storage/sql.ts';
import { createLane, type Lane } from '../lanes/lane.ts';
import { createSettler } from './settler.ts';
import { resultOf } from './testing.ts';

eachEngine('the settler', (open) => {
  // A node that stood still: one lane was taken from it, and with the same heartbeat it hears that it is to give another.
  test('a lane that is lost while another is handed over: what is left is written, and nothing waits for itself', {
    timeout: 10_000,
  }, async (t) => {
    const storage = await open(t);
    await storage.transaction(async (tx) => {
      await tx.run(sql`update lane_leases set owner = 'node_a', epoch = 3 where lane = 1`);
      await tx.run(sql`update lane_leases set owner = 'node_b', epoch = 4 where lane = 2`);
    });
    const lanes = new Map<number, Lane>([1, 2].map((number) => [number, createLane(number, 3, 0)]));
    const troubles: unknown[] = [];
    const settler = createSettler({
      ...{ storage, clock: systemClock, owner: 'node_a', lanes },
      before: async () => {},
      onSettled: () => {},
      onTrouble: (error) => troubles.push(error),
      async onLaneLost() {
        const lost = lanes.get(2);
        if (lost) lost.lost = true;
        lanes.delete(2);
        // What a handover does before it gives a lane away.
        await settler.flush();
      },
    });
    settler.add(resultOf(lanes.get(1)!, 1));
    settler.add(resultOf(lanes.get(2)!, 1));
    await settler.flush();
    const written = await storage.all<{ lane: number }>(sql`select lane from attempts`);
    assert.deepEqual(
      written.map(({ lane }) => lane),
      [1],
    );
    assert.equal(settler.unflushed, 0);
    assert.deepEqual(troubles, []);
    settler.stop();
  });
});
