/** A database that fails once, at any call of a node, and is there again: everything arrives, in order, and the audit balances. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { stumbling } from '../../test/support/stumbling.ts';
import { HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { updateEndpoint } from '../endpoints/endpoints.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { audit } from './audit/audit.ts';
import { assertOrder, context, count, createWorld, POLICY, range, startReceiver, until } from './testing.ts';

const EVENTS = 60;
/** Two, for a search: then every second call fails once. */
const CALLS_APART = 14;

/** Answers how many calls the story makes. */
async function story(t: TestContext, real: Storage, fails: number, after: boolean): Promise<number> {
  const world = await createWorld(real, t);
  const good = await startReceiver(t);
  const refused = new Set<string>();
  const weak = await startReceiver(t, (_, response, { id }) => {
    const first = !refused.has(id) && refused.size < 15;
    if (first) refused.add(id);
    response.writeHead(first ? 500 : 200).end();
  });
  await world.endpoint(good.url);
  await world.endpoint(weak.url);
  const { endpoint: off } = await world.endpoint(good.url.replace('/hooks', '/off'), ['item.account.deleted']);
  const { storage, calls } = stumbling(real, fails, { after, within: false });
  let monotonicMs = 0;
  const node = await world.start({ storage, monotonicMs: () => monotonicMs });
  calls.on = true;
  node.wake(await world.append(range(EVENTS / 2).map((at) => at % 10)));
  await until(node, () => {
    monotonicMs += 100;
    return good.received.length >= EVENTS / 2;
  });
  await updateEndpoint(context(world), off.id, { enabled: false }, POLICY);
  node.wake(await world.append(range(EVENTS / 2).map((at) => at % 10)));
  const open = async () =>
    (await count(world, 'parked')) +
    (await count(world, 'endpoint_positions')) +
    (await real.all(sql`select h.lane from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head`)).length;
  await until(node, async () => {
    monotonicMs += SECOND_MS;
    world.clock.advance(HOUR_MS / 4);
    const { underWay, unflushed } = node.stats();
    return underWay + unflushed === 0 && (await open()) === 0;
  });
  calls.on = false;
  for (const receiver of [good, weak]) {
    assert.equal(new Set(receiver.seqs()).size, EVENTS, `call ${fails}`);
    assertOrder(receiver);
  }
  assert.deepEqual((await audit(real, { from: 0 })).faults, [], `call ${fails}`);
  await node.stop();
  return calls.made;
}

eachEngine('a database that fails once', (open) => {
  for (const after of [false, true]) {
    test(`at one call or another, ${after ? 'after' : 'before'} it was done`, async (t) => {
      // Each story makes some 120; which one is the Nth is another each time.
      for (let fails = after ? 3 : 1, made = fails; fails <= made; fails += CALLS_APART)
        await t.test(`call ${fails}`, async (t) => {
          made = await story(t, await open(t), fails, after);
        });
    });
  }
});
