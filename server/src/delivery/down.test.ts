/** A receiver at whose address nothing listens: what it costs, and that nothing is lost or out of order when it is back. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import { LANES } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import { createWorld, itemOf, type Running, startReceiver, type World } from './testing.ts';

/** What was under way, and the failures that open a circuit. */
const PARKED_LIMIT = 16 + 10;

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const counts = async ({ storage }: World, endpointId: string) =>
  (await storage.first<{ parked: number; positions: number; opened: number; settled: number }>(sql`
    select (select count(*) from parked where endpoint_id = ${endpointId}) as parked,
      (select count(*) from endpoint_positions where endpoint_id = ${endpointId}) as positions,
      (select count(*) from endpoint_health where endpoint_id = ${endpointId} and circuit = 'open') as opened,
      (select cast(sum(settled) as bigint) from lane_leases) as settled`))!;

async function beatUntil(world: World, delivery: Running, wait: (ms: number) => void, reached: () => Promise<boolean> | boolean) {
  while (!(await reached())) {
    wait(SECOND_MS);
    world.clock.advance(SECOND_MS);
    await delivery.tick();
    await new Promise(setImmediate);
  }
}

async function goDownAndUp(
  t: TestContext,
  world: World,
  { commits, perCommit, items }: { commits: number; perCommit: number; items: number },
) {
  const port = await closedPort();
  const { endpoint } = await world.endpoint(`http://127.0.0.1:${port}/hooks`);
  let monotonicMs = 0;
  const wait = (ms: number) => {
    monotonicMs += ms;
  };
  const delivery = await world.start({ monotonicMs: () => monotonicMs });
  const events = commits * perCommit;
  for (let commit = 0; commit < commits; commit += 1) {
    delivery.wake(await world.append(Array.from({ length: perCommit }, (_, index) => ((commit * perCommit + index) % items) + 1)));
    await new Promise(setImmediate);
  }
  await beatUntil(world, delivery, wait, async () => {
    const { opened, settled } = await counts(world, endpoint.id);
    // The log also has what tells of the failing endpoint.
    return opened === 1 && settled >= events;
  });
  const down = await counts(world, endpoint.id);
  const back = await startReceiver(t, undefined, port);
  world.clock.advance(20 * MINUTE_MS);
  await beatUntil(world, delivery, wait, async () => {
    const { parked, positions } = await counts(world, endpoint.id);
    return back.received.length >= events && parked + positions === 0;
  });
  await delivery.stop();
  assert.equal(back.received.length, events, 'each once');
  for (const [item, received] of Map.groupBy(back.received, ({ body }) => itemOf(body))) {
    const ids = received.map(({ id }) => id);
    assert.deepEqual(ids, [...ids].sort(), `events of item ${item} came out of order`);
  }
  return down;
}

eachEngine('an endpoint that is down', (open) => {
  for (const [title, size] of [
    ['5,000 events of 300 items', { commits: 10, perCommit: 500, items: 300 }],
    ['1,000 events of 4 items', { commits: 2, perCommit: 500, items: 4 }],
    ['600 events of one item', { commits: 2, perCommit: 300, items: 1 }],
  ] as const) {
    test(`costs a position for each lane and what was tried, with ${title}, and has them all when it is back`, async (t) => {
      const world = await createWorld(await open(t), t);
      const { parked, positions } = await goDownAndUp(t, world, size);
      assert.ok(positions <= LANES, `${positions} positions`);
      assert.ok(parked <= PARKED_LIMIT, `${parked} parked`);
    });
  }
});
