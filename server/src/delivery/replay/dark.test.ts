/** A replay whose own failures suspend its endpoint, which has nothing else to send: it finds out itself when the receiver is back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { MINUTE_MS } from '../../base/clock.ts';
import { createWorld, range, startReceiver, until } from '../testing.ts';
import { health } from '../testing-failures.ts';
import { progressOf } from './progress.ts';
import { createReplay, findReplay, type ReplayFilter } from './replays.ts';
import { countSelected } from './selection.ts';

const EVERYTHING: ReplayFilter = { kind: 'range', since: null, until: null, types: null, itemIds: null, outcome: null };

eachEngine('a replay to a receiver that is down', (open) => {
  test('probes it, and goes on when it is back, to its end', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, t);
    const events = 20;
    await world.append(range(events));
    let down = true;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(down ? 500 : 200).end());
    const { endpoint } = await world.endpoint(receiver.url);
    let monotonicMs = 0;
    const node = await world.start({ monotonicMs: () => monotonicMs });
    let minutes = 0;
    /** Time passes while nothing is under way: how long that takes is the machine's affair. */
    const pass = () => {
      const { underWay, unflushed } = node.stats();
      if (underWay + unflushed > 0) return;
      minutes += 1;
      monotonicMs += MINUTE_MS;
      world.clock.advance(MINUTE_MS);
    };
    const asked = { applicationId: world.applicationId, endpointId: endpoint.id, filter: EVERYTHING };
    const { total, ranges } = await countSelected(storage, asked);
    const { id } = (await createReplay(storage, { ...asked, ratePerS: 1_000, total }, ranges, world.clock.now()))!;
    const circuit = async () => (await health(world, endpoint.id))?.circuit;
    await until(node, async () => {
      pass();
      return (await circuit()) === 'open';
    });
    const before = receiver.received.length;
    minutes = 0;
    await until(node, () => {
      pass();
      return receiver.received.length >= before + 3;
    });
    assert.ok(minutes >= 3, `three probes in ${minutes} minutes`);
    down = false;
    await until(node, async () => {
      pass();
      return (await findReplay(storage, id))!.state === 'done';
    });
    const { delivered, failed, retrying } = await progressOf(storage, (await findReplay(storage, id))!);
    assert.deepEqual({ delivered, failed, retrying }, { delivered: events, failed: 0, retrying: 0 });
  });
});
