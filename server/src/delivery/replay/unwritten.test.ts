/** A replay whose results cannot be written for longer than its retries wait: each attempt is made, and counts, once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { SECOND_MS } from '../../base/clock.ts';
import type { Storage } from '../../storage/storage.ts';
import { createWorld, startReceiver, until } from '../testing.ts';
import { progressOf } from './progress.ts';
import { createReplay, findReplay, type ReplayFilter } from './replays.ts';
import { countSelected } from './selection.ts';

const EVERYTHING: ReplayFilter = { kind: 'range', since: null, until: null, types: null, itemIds: null, outcome: null };

/** Heartbeats and reads pass; attempts cannot be written while it is `full`. */
function smallDisk(real: Storage) {
  const disk = { full: false };
  const storage: Storage = {
    ...real,
    transaction: (work, options) =>
      real.transaction(
        (tx) =>
          work({
            ...tx,
            async insertMany(table, columns, rows, tail) {
              if (disk.full && table === 'attempts' && rows.length > 0) throw new Error('the disk is full');
              return tx.insertMany(table, columns, rows, tail);
            },
          }),
        options,
      ),
  };
  return { storage, disk };
}

eachEngine('a replay that cannot be written for a while', (open) => {
  for (const failures of [1, 2])
    test(`ends, and its counts are true, where ${failures} of its attempts failed meanwhile`, async (t) => {
      const { storage, disk } = smallDisk(await open(t));
      const world = await createWorld(storage, t);
      await world.append([1]);
      let left = failures;
      const receiver = await startReceiver(t, (_, response) => {
        left -= 1;
        response.writeHead(left >= 0 ? 500 : 200).end();
      });
      const { endpoint } = await world.endpoint(receiver.url);
      let monotonicMs = 0;
      const node = await world.start({ monotonicMs: () => monotonicMs });
      disk.full = true;
      const asked = { applicationId: world.applicationId, endpointId: endpoint.id, filter: EVERYTHING };
      const { total, ranges } = await countSelected(storage, asked);
      const { id } = (await createReplay(storage, { ...asked, ratePerS: 1_000, total }, ranges, world.clock.now()))!;
      const replay = async () => (await findReplay(storage, id))!;
      const pass = (ms: number) => {
        monotonicMs += ms;
        world.clock.advance(ms);
      };
      await until(node, () => receiver.received.length > 0);
      for (let seconds = 0; seconds < 60; seconds += 1) {
        pass(SECOND_MS);
        await node.tick();
        await new Promise(setImmediate);
      }
      disk.full = false;
      let beats = 0;
      await until(node, async () => {
        beats += 1;
        assert.ok(beats < 1_000, `${JSON.stringify(await progressOf(storage, await replay()))} after ${receiver.received.length} requests`);
        pass(60 * SECOND_MS);
        return (await replay()).state === 'done';
      });
      assert.deepEqual(await progressOf(storage, await replay()), { sent: 1, delivered: 1, failed: 0, retrying: 0 });
      assert.equal(receiver.received.length, failures + 1);
    });
});
