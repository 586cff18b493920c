import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { eachEngine, openEngine } from '../../../test/support/engines.ts';
import { sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { CHANNEL, readHint, writeHint } from './hints.ts';
import { createLeases, GOOD_FOR_MS, STALE_AFTER_MS } from './lease.ts';

/** A node whose clock only the test moves; it gives lanes up at once. */
function createNode(storage: Storage, owner: string) {
  let now = 0;
  let sendUntil = 0;
  const held = new Map<number, number>();
  const leases = createLeases({
    storage,
    owner,
    monotonicMs: () => now,
    onLost: () => {
      sendUntil = 0;
    },
  });
  return {
    owner,
    leases,
    held,
    maySend: () => held.size > 0 && now < sendUntil,
    wait(ms: number) {
      now += ms;
    },
    async beat() {
      const before = now;
      const renewal = await leases.renew();
      const ours = new Map(renewal.lanes.map(({ lane, epoch }) => [lane, epoch]));
      for (const [lane, epoch] of held) if (ours.get(lane) !== epoch) held.delete(lane);
      sendUntil = before + GOOD_FOR_MS;
      if (renewal.give.length > 0) {
        await leases.release(renewal.give.filter((lane) => held.has(lane)).map((lane) => ({ number: lane, epoch: held.get(lane)! })));
        for (const lane of renewal.give) held.delete(lane);
      }
      for (const { lane, epoch } of await leases.acquire()) held.set(lane, epoch);
    },
  };
}
type Node = ReturnType<typeof createNode>;

async function owners(storage: Storage): Promise<Map<string | null, number>> {
  const rows = await storage.all<{ owner: string | null; count: number }>(
    sql`select owner, count(*) as count from lane_leases group by owner`,
  );
  return new Map(rows.map(({ owner, count }) => [owner, count]));
}

async function beats(nodes: readonly Node[], rounds: number) {
  for (let round = 0; round < rounds; round += 1) {
    for (const node of nodes) {
      await node.beat();
      const all = nodes.flatMap(({ held }) => [...held.keys()]);
      assert.equal(new Set(all).size, all.length, 'no lane is held twice');
    }
    for (const node of nodes) node.wait(1_000);
  }
}

eachEngine('a heartbeat', (open) => {
  test('brings what others would ask once a second, in its own one statement', async (t) => {
    const storage = await open(t);
    const seen: (number | null)[][] = [[], []];
    const passengers = [
      { moment: sql`select min(value) from counters where name = ${'items'}`, seen: (moment: number | null) => seen[0]!.push(moment) },
      { moment: sql`select min(value) from counters where name = ${'nobody'}`, seen: (moment: number | null) => seen[1]!.push(moment) },
    ];
    const leases = createLeases({ storage, owner: 'node_one', monotonicMs: () => 0, passengers });
    t.after(() => leases.abandon());
    await leases.renew();
    const before = storage.counts.statements;
    await leases.renew();
    assert.equal(storage.counts.statements - before, 1);
    assert.deepEqual(seen, [
      [4_000_000, 4_000_000],
      [null, null],
    ]);
  });
});

suite('leases on sqlite', () => {
  test('the one node has every lane at once, whoever held it before', async (t) => {
    const storage = await openEngine('sqlite', t);
    const first = createNode(storage, 'node_one');
    await first.beat();
    assert.equal(first.held.size, 64);
    const second = createNode(storage, 'node_two');
    await second.beat();
    assert.equal(second.held.size, 64);
    await first.beat();
    assert.equal(first.held.size, 64, 'two cannot be, behind the lock file');
    await second.leases.leave();
  });
});

suite('leases on postgres', () => {
  test('nodes that join share the lanes, and one that leaves hands over at once', async (t) => {
    const storage = await openEngine('postgres', t);
    const nodes = ['node_one', 'node_two', 'node_three'].map((owner) => createNode(storage, owner));
    t.after(() => Promise.all(nodes.map(({ leases }) => leases.abandon())));
    const [one, two, three] = nodes as [Node, Node, Node];
    await beats([one], 1);
    assert.equal(one.held.size, 64);
    await beats([one, two], 2);
    assert.deepEqual([one.held.size, two.held.size], [32, 32]);
    await beats(nodes, 2);
    assert.deepEqual(nodes.map(({ held }) => held.size).sort(), [20, 22, 22]);
    await two.leases.leave();
    two.held.clear();
    await beats([one, three], 1);
    assert.deepEqual([one.held.size, three.held.size], [32, 32]);
  });

  test('a killed node is missed at once by its session, without waiting for its lease to grow stale', async (t) => {
    const storage = await openEngine('postgres', t);
    const [one, two] = [createNode(storage, 'node_one'), createNode(storage, 'node_two')];
    t.after(() => two.leases.abandon());
    await beats([one, two], 3);
    await one.leases.abandon();
    one.held.clear();
    await beats([two], 3);
    assert.equal(two.held.size, 64);
  });

  test('a frozen node is stale after six seconds, and when it thaws it sends nothing and holds nothing', async (t) => {
    const storage = await openEngine('postgres', t);
    const [one, two] = [createNode(storage, 'node_one'), createNode(storage, 'node_two')];
    t.after(() => Promise.all([one.leases.abandon(), two.leases.abandon()]));
    await beats([one, two], 3);
    const before = new Map(one.held);
    await one.beat();
    await two.beat();
    for (let waited = 0; waited + 500 < STALE_AFTER_MS; waited += 500) {
      two.wait(500);
      one.wait(500);
      await two.beat();
    }
    assert.equal(two.held.size, 32);
    assert.equal(one.maySend(), false, 'its lease has ended before another may take its lanes');
    two.wait(500);
    one.wait(500);
    await two.beat();
    assert.equal(two.held.size, 64);
    assert.equal(one.maySend(), false);
    await one.beat();
    for (const [lane, epoch] of one.held) assert.notEqual(before.get(lane), epoch);
    await beats([two, one], 2);
    assert.deepEqual([one.held.size, two.held.size], [32, 32]);
  });

  test('a node that returns with its id has its lanes at once', async (t) => {
    const storage = await openEngine('postgres', t);
    const [one, two] = [createNode(storage, 'node_one'), createNode(storage, 'node_two')];
    await beats([one, two], 2);
    const before = [...one.held.keys()];
    await one.leases.abandon();
    const again = createNode(storage, 'node_one');
    t.after(() => Promise.all([again.leases.abandon(), two.leases.abandon()]));
    await again.beat();
    assert.deepEqual([...again.held.keys()].sort(), before.sort());
    await beats([two, again], 1);
    assert.equal(two.held.size, 32);
  });

  test('a second process with the id of a living one waits until that one is gone', async (t) => {
    const storage = await openEngine('postgres', t);
    const [one, twin] = [createNode(storage, 'node_one'), createNode(storage, 'node_one')];
    t.after(() => Promise.all([one.leases.abandon(), twin.leases.abandon()]));
    for (let round = 0; round < 10; round += 1) {
      await one.beat();
      await twin.beat();
      one.wait(1_000);
      twin.wait(1_000);
    }
    assert.deepEqual([one.held.size, twin.held.size], [64, 0]);
    await one.leases.abandon();
    await twin.beat();
    assert.equal(twin.held.size, 64);
  });

  test('nodes of other databases have locks of their own, and hints arrive', async (t) => {
    const storage = await openEngine('postgres', t);
    const heard: string[] = [];
    const hints = new Promise<void>((resolve) => {
      const leases = createLeases({
        storage,
        owner: 'node_one',
        monotonicMs: () => 0,
        onHint: (payload) => {
          heard.push(payload);
          resolve();
        },
      });
      t.after(() => leases.abandon());
      void leases.renew().then(() => storage.shared!.hint(CHANNEL, writeHint('node_two', { kind: 'moved', lanes: [3, 7] })));
    });
    await hints;
    assert.deepEqual(readHint(heard[0]!, 'node_one'), { kind: 'moved', lanes: [3, 7] });
    assert.equal(readHint(heard[0]!, 'node_two'), null, 'its own');
    const other = createNode(await openEngine('postgres', t), 'node_one');
    t.after(() => other.leases.abandon());
    await other.beat();
    assert.equal(other.held.size, 64);
  });

  test('six nodes that join, leave, die and freeze at random moments never hold a lane twice, and in the end hold all', async (t) => {
    const storage = await openEngine('postgres', t);
    let seed = 7;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed / 2_147_483_648;
    };
    const alive = new Map<string, Node>();
    t.after(() => Promise.all([...alive.values()].map(({ leases }) => leases.abandon())));
    let made = 0;
    for (let step = 0; step < 60; step += 1) {
      const draw = random();
      const some = [...alive.values()][Math.floor(random() * alive.size)];
      if (draw < 0.35 && alive.size < 6) {
        const node = createNode(storage, `node_${++made}`);
        alive.set(node.owner, node);
      } else if (some && draw < 0.5) {
        alive.delete(some.owner);
        await (draw < 0.42 ? some.leases.leave() : some.leases.abandon());
      }
      const frozen = draw > 0.9 ? some : undefined;
      for (let round = 0; round < (frozen ? 9 : 1); round += 1) {
        await Promise.all([...alive.values()].filter((node) => node !== frozen).map((node) => node.beat()));
        for (const node of alive.values()) node.wait(1_000);
        const sending = [...alive.values()].filter((node) => node.maySend()).flatMap(({ held }) => [...held.keys()]);
        assert.equal(new Set(sending).size, sending.length, `no lane is sent by two, step ${step}`);
      }
    }
    if (alive.size === 0) alive.set('node_last', createNode(storage, 'node_last'));
    for (let round = 0; round < 10; round += 1) {
      for (const node of alive.values()) {
        await node.beat();
        node.wait(1_000);
      }
    }
    const counts = await owners(storage);
    assert.deepEqual([...counts.keys()].sort(), [...alive.keys()].sort());
    assert.ok(Math.max(...counts.values()) <= Math.ceil(64 / alive.size));
  });
});
