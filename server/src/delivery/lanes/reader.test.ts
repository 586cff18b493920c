import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { explaining } from '../../../test/support/explain.ts';
import { laneOf } from '../../events/log.ts';
import { sql } from '../../storage/sql.ts';
import { createWorld, startReceiver } from '../testing.ts';
import {
  readDone,
  readDue,
  readHead,
  readLeastSent,
  readNextDue,
  readOpen,
  readParked,
  readPositions,
  readStretch,
  readTail,
  readTails,
} from './reader.ts';

eachEngine('what delivery reads', (open, engine) => {
  test('is read by an index, whatever the size of the log, of the attempts and of what is parked', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t, (_, response, { body }) => response.writeHead(body.includes('"item_id":1,') ? 500 : 200).end());
    const { endpoint } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1, 1, 2, 3, 4, 5]));
    await delivery.settled(5);
    await delivery.stop();
    await world.storage.transaction((tx) =>
      tx.run(sql`insert into endpoint_positions (endpoint_id, lane, settled, ahead, since) values ('wh_x', 1, 2, '[[4,5]]', 0)`),
    );
    const reader = explaining(world.storage);
    const lane = laneOf('item:1');
    assert.equal((await readTail(reader, lane, 0, 100)).events.length, 2);
    if (engine === 'postgres') {
      const positions = [lane, laneOf('item:2'), laneOf('item:3')].map((number) => ({ lane: number, afterSeq: number === lane ? 1 : 0 }));
      const { lanes, configurationVersion } = await readTails(reader, [...positions, { lane: laneOf('item:4'), afterSeq: 1 }], 100);
      const read = positions.map(({ lane: number }) => lanes.get(number)!.map(({ itemId, seq }) => [itemId, seq]));
      assert.deepEqual(read, [[[1, 2]], [[2, 1]], [[3, 1]]]);
      assert.equal(lanes.size, 3);
      assert.equal(configurationVersion, (await readTail(reader, lane, 0, 100)).configurationVersion);
      const [first] = [...(await readTails(reader, [{ lane, afterSeq: 0 }, positions[1]!], 1)).lanes.values()];
      assert.equal(first!.length, 1, 'no more of a lane than the limit');
    }
    const stretch = { applicationId: world.applicationId, lane, afterSeq: 1, throughSeq: 2, limit: 10 };
    assert.equal((await readStretch(reader, stretch)).events.length, 1);
    assert.equal((await readHead(reader, lane)).head, 2);
    assert.equal((await readDone(reader, lane, 0)).length, 2);
    assert.equal((await readDone(reader, laneOf('item:2'), 0)).length, 1);
    assert.deepEqual(await readPositions(reader, 1), [{ endpointId: 'wh_x', settled: 2, ahead: [[4, 5]] }]);
    assert.equal((await readOpen(reader, lane)).length, 2);
    const now = world.clock.now();
    assert.equal((await readDue(reader, { now: now + 10_000, lanes: [lane], without: ['wh_x'], limit: 10 })).length, 1);
    assert.equal((await readDue(reader, { now: now + 10_000, lanes: [lane + 1], without: [], limit: 10 })).length, 0);
    assert.equal(await readNextDue(reader, now, [lane]), now + 5_000);
    assert.equal(await readNextDue(reader, now, [lane + 1]), null);
    assert.equal((await readParked(reader, endpoint.id, lane, [1, 2])).length, 2);
    assert.equal((await readLeastSent(reader, endpoint.id, [lane]))?.seq, 1);
    assert.equal(await readLeastSent(reader, endpoint.id, [lane + 1]), undefined);
    assert.ok(reader.statements >= 14);
    reader.assertNoFullScan(['events', 'attempts', 'parked', 'endpoint_positions', 'lane_heads']);
  });
});
