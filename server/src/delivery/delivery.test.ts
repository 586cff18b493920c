import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { verify } from '@pontage/sdk';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { deleteEndpoint, findEndpoint, rotateSecret, updateEndpoint } from '../endpoints/endpoints.ts';
import { appendTestEvent } from '../events/append.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { silentLog } from '../telemetry/log.ts';
import { audit } from './audit/audit.ts';
import { RETRY_DELAYS_MS } from './channels/retry.ts';
import { createLane, type Lane } from './lanes/lane.ts';
import { createLeases, STALE_AFTER_MS } from './lanes/lease.ts';
import { SUSPECT_AFTER_MS } from './lanes/sharing.ts';
import { LaneLost, settle } from './settling/settle.ts';
import { context, createWorld, POLICY, range, startReceiver, type World } from './testing.ts';

const parkedRows = async ({ storage }: World) =>
  (
    await storage.all<{ state: string; attempts: number; due_at: number | null }>(
      sql`select state, attempts, due_at from parked order by lane, seq`,
    )
  ).map((row) => ({ ...row }));
const settledSum = async ({ storage }: World) =>
  (await storage.first<{ sum: number }>(sql`select cast(sum(settled) as bigint) as sum from lane_leases`))?.sum;

eachEngine('delivery', (open) => {
  test('a committed event arrives once, signed by both schemes, as compact JSON', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { secret } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([4568477]));
    await delivery.settled(1);
    const { body } = receiver.received[0]!;
    const headers = receiver.received[0]!.headers as Record<string, string>;
    assert.equal(
      body,
      '{"content":{"item_id":4568477,"user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1700000000000,"type":"item.created"}',
    );
    assert.equal(headers['content-type'], 'application/json');
    assert.equal(headers['user-agent'], 'Pontage/1.2.3');
    assert.match(headers['bridgeapi-signature']!, /^v1=[0-9A-F]{64}$/);
    assert.match(headers['webhook-id']!, /^evt_/);
    assert.equal(headers['webhook-timestamp'], '1700000000');
    verify(body, { 'bridgeapi-signature': headers['bridgeapi-signature']! }, secret, { requireTimestamp: false });
    const standard = {
      'webhook-id': headers['webhook-id']!,
      'webhook-timestamp': '1700000000',
      'webhook-signature': headers['webhook-signature']!,
    };
    verify(body, standard, secret, { now: world.clock.now() });
  });

  test('every event arrives, in order for each item, whatever is written meanwhile', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    for (const round of range(20)) {
      await Promise.all([world.append([1, 2, 3, round + 100]), world.append([2, 1, round + 200])]);
      delivery.wake();
    }
    await delivery.settled(140);
    await delivery.stop();
    assert.equal(new Set(receiver.seqs()).size, 140);
    assert.equal(receiver.received.length, 140);
    assert.equal(await settledSum(world), 140);
    const ofItem = receiver.received.filter(({ body }) => body.includes('"item_id":1,')).map(({ id }) => id);
    assert.equal(ofItem.length, 40);
    assert.deepEqual(ofItem, [...ofItem].sort());
  });

  test('only endpoints of the application whose filter has the type, from their creation on', async (t) => {
    const world = await createWorld(await open(t), t);
    const [all, deleted] = [await startReceiver(t), await startReceiver(t)];
    await world.append([1]);
    await world.endpoint(all.url);
    const { endpoint } = await world.endpoint(deleted.url, ['item.account.deleted']);
    const delivery = await world.start();
    delivery.wake(await world.append([2]));
    delivery.wake(await world.append([2], 'item.account.deleted'));
    await delivery.settled(3);
    assert.equal(all.received.length, 2);
    assert.equal(deleted.received.length, 1);
    await updateEndpoint(context(world), endpoint.id, { events: ['item.created'] }, POLICY);
    delivery.wake(await world.append([3]));
    await delivery.settled(5);
    assert.equal(deleted.received.length, 2);
  });

  test('a stop and a start lose nothing and repeat nothing', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const first = await world.start();
    first.wake(await world.append(range(50)));
    await first.settled(50);
    await first.stop();
    await world.append(range(50, 100));
    const second = await world.start();
    await second.settled(50);
    await second.stop();
    assert.equal(new Set(receiver.seqs()).size, 100);
    assert.equal(receiver.received.length, 100);
  });

  test('a crash loses nothing, and repeats only what was not settled', async (t) => {
    const world = await createWorld(await open(t), t);
    const held = new Set<() => void>();
    let holding = true;
    const receiver = await startReceiver(t, (_, response, { body }) => {
      if (holding && body.includes('"item_id":7,')) held.add(() => response.end());
      else response.end();
    });
    await world.endpoint(receiver.url);
    const first = await world.start({ nodeId: 'node_one' });
    // Item 7 is never answered: its lane's settled position stays behind what its successors have reached.
    first.wake(await world.append([7, ...range(30, 7 + 64)]));
    first.wake(await world.append([...range(30, 7 + 64), 8]));
    await first.settled(61);
    await first.abandon();
    holding = false;
    const before = receiver.received.length;
    assert.equal(before, 62);
    const second = await world.start({ nodeId: 'node_one' });
    await second.settled(1);
    await second.stop();
    assert.equal(receiver.received.length, 63, 'only item 7 is sent again');
    assert.equal(await settledSum(world), 62);
  });

  test('a failure is tried again by the schedule with the same body, and in the end is dead', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t, (_, response) => response.writeHead(500).end('broken'));
    const { endpoint } = await world.endpoint(receiver.url);
    // Its own, and short enough to end before ten failures in a row open the circuit.
    const delaysMs = RETRY_DELAYS_MS.slice(0, 8);
    await updateEndpoint(context(world), endpoint.id, { retryDelaysMs: delaysMs }, POLICY);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await delivery.settled(1);
    for (const [index, delayMs] of delaysMs.entries()) {
      assert.deepEqual(await parkedRows(world), [{ state: 'retry', attempts: index + 1, due_at: world.clock.now() + delayMs }]);
      world.clock.advance(delayMs - 1);
      await delivery.tick();
      assert.equal(receiver.received.length, index + 1, 'not before it is due');
      world.clock.advance(1);
      await delivery.tick();
      await delivery.settled(index + 2);
    }
    assert.deepEqual(await parkedRows(world), [{ state: 'dead', attempts: 9, due_at: null }]);
    assert.equal(new Set(receiver.received.map(({ body, id }) => body + id)).size, 1);
    const attempts = await world.storage.all<{ source: string; n: number; failure: string; snippet: string }>(
      sql`select source, n, failure, snippet from attempts order by n`,
    );
    assert.deepEqual(
      attempts.map(({ n }) => n),
      range(9),
    );
    assert.deepEqual({ ...attempts[8] }, { source: 'retry', n: 9, failure: 'status', snippet: 'broken' });
  });

  test('a retry that is received ends its row', async (t) => {
    const world = await createWorld(await open(t), t);
    let status = 503;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1, 2, 3]));
    await delivery.settled(3);
    status = 204;
    world.clock.advance(DAY_MS);
    await delivery.tick();
    await delivery.settled(6);
    assert.deepEqual(await parkedRows(world), []);
    assert.equal(await settledSum(world), 3);
  });

  test('after a rotation both secrets sign, newest first; a second one ends the first; 24 h end the old', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint, secret: first } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    const second = (await rotateSecret(context(world), endpoint.id))!;
    delivery.wake(await world.append([1]));
    await delivery.settled(1);
    const signatures = () => String(receiver.received.at(-1)!.headers['bridgeapi-signature']).split(',');
    const verifies = (secret: string, signature: string) => {
      try {
        verify(receiver.received.at(-1)!.body, { 'bridgeapi-signature': signature }, secret, { requireTimestamp: false });
        return true;
      } catch {
        return false;
      }
    };
    assert.equal(signatures().length, 2);
    assert.ok(verifies(second, signatures()[0]!) && verifies(first, signatures()[1]!));
    assert.equal(String(receiver.received[0]!.headers['webhook-signature']).split(' ').length, 2);
    world.clock.advance(HOUR_MS);
    const third = (await rotateSecret(context(world), endpoint.id))!;
    delivery.wake(await world.append([2]));
    await delivery.settled(2);
    assert.ok(verifies(third, signatures()[0]!) && verifies(second, signatures()[1]!));
    assert.equal(signatures().length, 2);
    world.clock.advance(DAY_MS);
    delivery.wake(await world.append([3]));
    await delivery.settled(3);
    assert.equal(signatures().length, 1);
    assert.ok(verifies(third, signatures()[0]!));
  });

  test('a test event reaches its endpoint alone, with the documented body and signature', async (t) => {
    const world = await createWorld(await open(t), t);
    const [one, other] = [await startReceiver(t), await startReceiver(t)];
    const { endpoint } = await world.endpoint(one.url, ['item.created']);
    await world.endpoint(other.url);
    const delivery = await world.start();
    const origin = { applicationId: world.applicationId, refreshId: null, committedAt: 0, endpointId: endpoint.id };
    const id = await world.storage.transaction((tx) => appendTestEvent(tx, origin));
    delivery.wake();
    await delivery.settled(1);
    assert.equal(other.received.length, 0);
    assert.equal(one.received[0]!.id, id);
    assert.equal(
      one.received[0]!.body,
      '{"content":{"item_id":1234567890,"status":0,"user_uuid":"9a95b38f-f98b-417a-988b-9d0d584893e7"},"timestamp":1611681789,"type":"TEST_EVENT"}',
    );
    assert.equal(delivery.reports[0]!.source, 'test');
  });

  test('a receiver that hangs delays no other, and gets its events when it is back', async (t) => {
    const world = await createWorld(await open(t), t);
    let hangs = true;
    const hanging = await startReceiver(t, (_, response) => {
      if (!hangs) response.end();
    });
    const good = await startReceiver(t);
    await world.endpoint(hanging.url);
    await world.endpoint(good.url);
    let monotonicMs = 0;
    const delivery = await world.start({ deadlineMs: 1_000, monotonicMs: () => monotonicMs });
    delivery.wake(await world.append(range(1_500)));
    await good.until(500);
    // The queue of the hanging one is full and does not move: after the patience of reading, the rest is put aside.
    monotonicMs = 1_100;
    await good.until(1_500);
    hangs = false;
    monotonicMs = 3_000;
    const arrived = () => delivery.reports.filter(({ failure }) => failure === null).length;
    while (arrived() < 3_000) {
      world.clock.advance(HOUR_MS);
      monotonicMs += 1_000;
      await delivery.tick();
      await new Promise(setImmediate);
    }
    assert.equal(new Set(hanging.seqs()).size, 1_500);
    assert.equal(good.received.length, 1_500);
    await delivery.stop();
    assert.deepEqual(await parkedRows(world), []);
    assert.equal(await settledSum(world), 1_502, 'and the two events that tell operators of it');
  });

  test('410 disables the endpoint; its events wait, and go out when it is enabled', async (t) => {
    const world = await createWorld(await open(t), t);
    let status = 410;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end());
    const { endpoint } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await delivery.settled(1);
    assert.equal((await findEndpoint(world.storage, endpoint.id))?.enabled, false);
    delivery.wake(await world.append([1, 2]));
    await delivery.tick();
    await delivery.tick();
    assert.deepEqual(
      (await parkedRows(world)).map(({ state }) => state),
      ['retry'],
      'what comes later stays in the log',
    );
    assert.equal(receiver.received.length, 1);
    status = 200;
    await updateEndpoint(context(world), endpoint.id, { enabled: true }, POLICY);
    world.clock.advance(DAY_MS);
    await delivery.tick();
    await delivery.tick();
    await delivery.settled(4);
    assert.deepEqual(await parkedRows(world), []);
  });

  test('a deleted endpoint is sent nothing of what was parked for it', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t, (_, response) => response.writeHead(500).end());
    const { endpoint } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1, 2]));
    await delivery.settled(2);
    assert.equal((await parkedRows(world)).length, 2);
    assert.equal(await deleteEndpoint(context(world), endpoint.id), true);
    await delivery.tick();
    delivery.wake(await world.append([3]));
    world.clock.advance(DAY_MS);
    await delivery.tick();
    await delivery.stop();
    assert.equal(receiver.received.length, 2);
    assert.equal(await settledSum(world), 3);
  });

  for (const status of [200, 500]) {
    test(`a webhook that is deleted while it answers ${status}: its attempts are logged, and nothing more becomes of them`, async (t) => {
      const world = await createWorld(await open(t), t);
      const held: (() => void)[] = [];
      const first = await startReceiver(t, (_, response, { body }) => {
        if (body.includes('"item_id":1,') && held.length === 0) response.writeHead(500).end();
        held.push(() => response.writeHead(status).end());
      });
      const { endpoint } = await world.endpoint(first.url);
      const delivery = await world.start();
      delivery.wake(await world.append([1]));
      await delivery.settled(1);
      world.clock.advance(DAY_MS);
      delivery.wake(await world.append([2]));
      await delivery.tick();
      // A retry and a live one.
      await first.until(3);
      await deleteEndpoint(context(world), endpoint.id);
      await delivery.tick();
      for (const answer of held.slice(1)) answer();
      await delivery.settled(3);
      await delivery.stop();
      const attempts = await world.storage.all<{ item_id: number; source: string; n: number; status: number }>(
        sql`select item_id, source, n, status from attempts where endpoint_id = ${endpoint.id} order by item_id, n`,
      );
      assert.deepEqual(
        attempts.map((row) => ({ ...row })),
        [
          { item_id: 1, source: 'live', n: 1, status: 500 },
          { item_id: 1, source: 'retry', n: 2, status },
          { item_id: 2, source: 'live', n: 1, status },
        ],
      );
      assert.deepEqual(await parkedRows(world), []);
      assert.equal(await world.storage.first(sql`select endpoint_id from endpoint_health`), undefined);
      assert.equal(await settledSum(world), 2);
      const { faults, hours } = await audit(world.storage, { from: 0 });
      assert.deepEqual(faults, []);
      const sum = (name: 'delivered' | 'skipped') => hours.reduce((total, hour) => total + hour[name], 0);
      assert.deepEqual([sum('delivered'), sum('skipped')], status === 200 ? [2, 0] : [0, 2]);
    });
  }

  test('failures say what to do', async (t) => {
    const world = await createWorld(await open(t), t);
    const redirecting = await startReceiver(t, (_, response) => response.writeHead(302, { location: 'https://example.com/new' }).end());
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as { port: number };
    closed.close();
    await world.endpoint(redirecting.url);
    await world.endpoint(`http://127.0.0.1:${port}/`);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await delivery.settled(2);
    const failures = delivery.reports.map(({ failure }) => failure).sort((a, b) => a!.class.localeCompare(b!.class));
    assert.deepEqual(
      failures.map((failure) => failure?.class),
      ['redirect', 'refused'],
    );
    assert.match(failures[0]!.message, /https:\/\/example\.com\/new/);
  });

  test('the guard holds at the connection too', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    await world.endpoint(receiver.url.replace('127.0.0.1', 'localhost'));
    const delivery = await world.start({ policy: { allowLoopback: false, allowedRanges: [] } });
    delivery.wake(await world.append([1]));
    await delivery.settled(2);
    assert.deepEqual(
      delivery.reports.map(({ failure }) => failure?.class),
      ['guard', 'guard'],
    );
    assert.equal(receiver.received.length, 0);
  });

  test('a long answer is cut, and a 2xx stays a success', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t, (_, response) => response.end(Buffer.alloc(1_000_000)));
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await delivery.settled(1);
    assert.equal(delivery.reports[0]!.failure, null);
  });

  test('crashing again and again loses nothing', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    for (const round of range(8)) {
      const delivery = await world.start({ nodeId: 'node_one' });
      delivery.wake(await world.append(range(40, round * 1_000)));
      await receiver.until(round * 40 - 30);
      await delivery.abandon();
    }
    const last = await world.start({ nodeId: 'node_one' });
    while ((await settledSum(world)) !== 320) {
      await last.tick();
      await new Promise(setImmediate);
    }
    assert.equal(new Set(receiver.seqs()).size, 320);
  });

  test('delivery pauses while the database refuses, and loses nothing', async (t) => {
    const world = await createWorld(await open(t), t);
    const held: (() => void)[] = [];
    let holding = true;
    const receiver = await startReceiver(t, (_, response) => {
      if (holding) held.push(() => response.end());
      else response.end();
    });
    await world.endpoint(receiver.url);
    let down = false;
    const away = () => Promise.reject(new Error('the database is away'));
    const storage: Storage = {
      ...world.storage,
      transaction: (work) => (down ? away() : world.storage.transaction(work)),
      alone: { ...world.storage.alone, first: (query) => (down ? away() : world.storage.alone.first(query)) },
    };
    const lines: string[] = [];
    const log = { ...silentLog, error: (_: unknown, message: string) => void lines.push(message) };
    const delivery = await world.start({ storage, log });
    delivery.wake(await world.append(range(20)));
    await receiver.until(16);
    down = true;
    holding = false;
    for (const answer of held) answer();
    await delivery.tick();
    await delivery.tick();
    assert.equal(lines.length, 1);
    assert.equal(delivery.reports.length, 0);
    down = false;
    await delivery.tick();
    await delivery.settled(20);
    await delivery.stop();
    assert.equal(new Set(receiver.seqs()).size, 20);
    assert.equal(await settledSum(world), 20);
  });

  test('what settles under an older epoch is refused whole', async (t) => {
    const world = await createWorld(await open(t), t);
    const storage = world.storage;
    const lease = async (owner: string) => {
      let now = 0;
      const leases = createLeases({ storage, owner, monotonicMs: () => now });
      t.after(() => leases.abandon());
      await leases.renew();
      now = STALE_AFTER_MS;
      await leases.renew();
      const [first] = await leases.acquire();
      return createLane(first!.lane, first!.epoch, first!.settled);
    };
    const old = await lease('node_one');
    const current = await lease('node_two');
    const write = (owner: string, lane: Lane) =>
      settle(storage, {
        owner,
        now: 0,
        results: [],
        positions: [{ lane, settled: 9 }],
        lagging: [],
        released: [],
        revive: [],
        repeated: false,
      });
    await assert.rejects(write('node_one', old), LaneLost);
    assert.equal(await settledSum(world), 0);
    await write('node_two', current);
    assert.equal(await settledSum(world), 9);
  });

  test('a node takes over what another has let go of', async (t) => {
    const storage = await open(t);
    if (storage.engine === 'sqlite') return t.skip('one node only');
    const world = await createWorld(storage, t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    const first = await world.start({ nodeId: 'node_one' });
    let monotonicMs = 0;
    const second = await world.start({ nodeId: 'node_two', monotonicMs: () => monotonicMs });
    assert.equal(first.stats().lanes, 64);
    assert.equal(second.stats().lanes, 0);
    await first.abandon();
    await second.tick();
    assert.equal(second.stats().lanes, 0);
    monotonicMs = SUSPECT_AFTER_MS;
    await second.tick();
    assert.equal(second.stats().lanes, 64, 'it beats no more, and its session has ended');
    second.wake(await world.append([1]));
    await second.settled(1);
    await second.stop();
    const third = await world.start();
    assert.equal(third.stats().lanes, 64, 'a clean stop hands over at once');
  });
});

eachEngine('an erased item', (open) => {
  test('is not sent any more, and nobody waits for it', async (t) => {
    const world = await createWorld(await open(t), t);
    let answerFirst = () => {};
    const receiver = await startReceiver(t, (_, response, { body }) => {
      if (body.includes('"item_id":1,')) answerFirst = () => response.end();
      else response.end();
    });
    await world.endpoint(receiver.url);
    const running = await world.start();
    await world.append([1, 1, 1, 2]);
    running.wake();
    await receiver.until(2);
    running.forgetItems(new Set([1]));
    answerFirst();
    await running.settled(2);
    await running.tick();
    assert.equal(receiver.received.filter(({ body }) => body.includes('"item_id":1,')).length, 1);
    const behind = await world.storage.first<{ lanes: number }>(
      sql`select count(*) as lanes from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head`,
    );
    assert.equal(behind!.lanes, 0);
  });
});
