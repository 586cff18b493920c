/** A refused event keeps nothing else waiting, and dies in its time where nothing else can be tried. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import { updateEndpoint } from '../endpoints/endpoints.ts';
import { sql } from '../storage/sql.ts';
import { audit } from './audit/audit.ts';
import { RETRY_DELAYS_MS, RETRY_JITTER } from './channels/retry.ts';
import { context, createWorld, POLICY, range, startReceiver, type World } from './testing.ts';
import { health, rests, startNode, unread, until } from './testing-failures.ts';

/** Refuses the first event that it gets, for what it is. */
async function startRefusing(t: TestContext) {
  const taken: string[] = [];
  let refused: string | null = null;
  const receiver = await startReceiver(t, (_, response, { id, body }) => {
    refused ??= id;
    if (id !== refused) taken.push(/"item_id":(\d+)/.exec(body)![1]!);
    response.writeHead(id === refused ? 400 : 200).end();
  });
  return { receiver, taken };
}

eachEngine('an endpoint', (open) => {
  for (const ordering of ['item', 'none'] as const) {
    test(`that refuses one event and is well is found by the first probe, with order by ${ordering}`, async (t) => {
      const world = await createWorld(await open(t), t);
      const { receiver, taken } = await startRefusing(t);
      const { endpoint } = await world.endpoint(receiver.url, ['item.created']);
      // The attempt after the one that opens the circuit is its last.
      const retryDelaysMs = range(10).map(() => SECOND_MS);
      await updateEndpoint(context(world), endpoint.id, { ordering, retryDelaysMs }, POLICY);
      const node = await startNode(world);
      const circuit = async () => (await health(world, endpoint.id))?.circuit;
      node.delivery.wake(await world.append([1]));
      await until(node, async () => {
        if (rests(node)) world.clock.advance(2 * SECOND_MS);
        return (await circuit()) === 'open' && rests(node);
      });
      // What comes next in the log is of the same item. Its webhook has come to it before it is probed: who knows of nothing else
      // can only try the refused one again.
      node.delivery.wake(await world.append([1, 1, 2, 3]));
      await until(node, async () => (await unread(world)) === 0);
      assert.equal(await circuit(), 'open');
      world.clock.advance(15 * MINUTE_MS);
      await until(node, () => receiver.received.length >= 11 && rests(node));
      // The end of a probe is written after its attempt; the clock stands, so there is no second one to wait for.
      await until(node, async () => (await circuit()) !== 'open');
      await until(node, async () => {
        world.clock.advance(2 * SECOND_MS);
        return taken.length === 4 && rests(node);
      });
      const probed = await world.storage.all<{ delivered: number }>(
        sql`select delivered from attempts where endpoint_id = ${endpoint.id} and source = 'probe' order by at`,
      );
      assert.deepEqual(
        probed.map(({ delivered }) => delivered),
        [1],
      );
      const ofOne = receiver.received.filter(({ body }) => body.includes('"item_id":1,')).map(({ id }) => id);
      if (ordering === 'item') assert.deepEqual(ofOne, [...ofOne].sort(), 'in the order of their item');
      assert.deepEqual(taken.sort(), ['1', '1', '2', '3']);
    });
  }

  const heads = ({ storage }: World) =>
    storage.all<{ state: string; attempts: number }>(sql`select state, attempts from parked where state <> 'waiting' order by lane, seq`);

  test('that refuses one event and has others of its item alone is found when that one has had its time', async (t) => {
    const world = await createWorld(await open(t), t);
    const { receiver, taken } = await startRefusing(t);
    const { endpoint } = await world.endpoint(receiver.url, ['item.created']);
    await updateEndpoint(context(world), endpoint.id, { retryDelaysMs: [...range(9).map(() => SECOND_MS), 6 * HOUR_MS] }, POLICY);
    const node = await startNode(world);
    node.delivery.wake(await world.append([1, 1, 1]));
    await until(node, async () => {
      if (rests(node)) world.clock.advance(2 * SECOND_MS);
      return (await health(world, endpoint.id))?.circuit === 'open' && rests(node);
    });
    const openedAt = world.clock.now();
    const step = async () => {
      world.clock.advance(15 * MINUTE_MS);
      const before = receiver.received.length;
      await until(node, () => receiver.received.length > before && rests(node));
    };
    while (world.clock.now() < openedAt + 5.5 * HOUR_MS) await step();
    const ten = { state: 'retry', attempts: 10 };
    assert.deepEqual({ ...(await heads(world))[0] }, ten, 'probes before its time cost nothing');
    assert.ok(receiver.received.length > 30);
    // Six hours, a probe that came a little early, and the next one, with the next event.
    while (taken.length === 0) {
      assert.ok(world.clock.now() <= openedAt + 6.5 * HOUR_MS, 'it stays dark');
      await step();
    }
    await until(node, () => taken.length === 2 && rests(node));
    const rows = await heads(world);
    assert.deepEqual(
      rows.map((row) => ({ ...row })),
      [{ state: 'dead', attempts: 11 }],
    );
    await until(node, async () => (await health(world, endpoint.id))?.circuit === 'closed');
    assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
  });

  test('that cannot be reached keeps what it has from dying, also where it has one item alone', async (t) => {
    const world = await createWorld(await open(t), t);
    const { endpoint } = await world.endpoint('http://127.0.0.1:9/', ['item.created']);
    const node = await startNode(world);
    node.delivery.wake(await world.append([1, 1]));
    await until(node, async () => {
      if (rests(node)) world.clock.advance(MINUTE_MS);
      return (await health(world, endpoint.id))?.circuit === 'open' && rests(node);
    });
    const before = await heads(world);
    for (const probes of range(20)) {
      world.clock.advance(HOUR_MS);
      await until(node, async () => (await health(world, endpoint.id))!.probes === probes && rests(node));
    }
    assert.deepEqual(await heads(world), before);
  });

  test('that refuses one event with many behind it is found by one of another item', async (t) => {
    const world = await createWorld(await open(t), t);
    const { receiver, taken } = await startRefusing(t);
    const { endpoint } = await world.endpoint(receiver.url, ['item.created']);
    const node = await startNode(world);
    const circuit = async () => (await health(world, endpoint.id))?.circuit;
    node.delivery.wake(await world.append([1]));
    await until(node, () => receiver.received.length > 0 && rests(node));
    // From retry to retry: a day more than these take, and the event would have had its time.
    for (const delayMs of RETRY_DELAYS_MS) {
      if ((await circuit()) === 'open') break;
      const before = receiver.received.length;
      world.clock.advance(delayMs * (1 + RETRY_JITTER));
      await until(node, () => receiver.received.length > before && rests(node));
    }
    node.delivery.wake(await world.append(range(40).map(() => 1)));
    for (let probes = 1; (await circuit()) === 'open'; probes += 1) {
      if (probes === 5) node.delivery.wake(await world.append([2]));
      await until(node, async () => (await unread(world)) === 0);
      assert.ok(probes < 10, 'it stays dark');
      const before = receiver.received.length;
      world.clock.advance(15 * MINUTE_MS);
      await until(node, () => receiver.received.length > before && rests(node));
    }
    assert.equal(taken[0], '2');
  });
});
