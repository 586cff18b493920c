/** Deliveries that go by the test clock: retries, pauses and probes at their simulated moments, to receivers that are real servers. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { moveClock } from '../../src/advance.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import { askServer, grantWishes } from '../../src/clock-wishes.ts';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import type { DeliveryCounts } from '../../src/delivery/attempts/count.ts';
import { RETRY_DELAYS_MS } from '../../src/delivery/channels/retry.ts';
import { type Delivery, startDelivery } from '../../src/delivery/delivery.ts';
import { REST_MAX_MS, RESTLESS } from '../../src/delivery/rest.ts';
import { POLICY, type Received, type Receiver, startReceiver } from '../../src/delivery/testing.ts';
import { createEndpoint } from '../../src/endpoints/endpoints.ts';
import { appendEvents, takeTimestamps } from '../../src/events/append.ts';
import { EVENT_TYPES } from '../../src/events/catalogue.ts';
import { readClock } from '../../src/refresh/test-clock/test-clock.ts';
import { sql } from '../../src/storage/sql.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { eachEngine } from '../support/engines.ts';
import { type Management, managementOf } from '../support/management.ts';
import { APPLICATION, createWorld, USER, type World } from '../support/world.ts';

const DEMO = 574;
const NEIGHBOUR = 'app_neighbour';
const login = (USER: string) => ({ USER, PWD: 'any' });

type Moved = { now: string; refreshes: number; events: number; deliveries?: DeliveryCounts };
type Place = World & {
  management: Management;
  /** The application's time now. */
  time(): Promise<number>;
  webhook(url: string, events?: readonly string[], applicationId?: string): Promise<string>;
  /** Advances with deliveries. */
  advance(advance: string): Promise<Required<Moved>>;
  /** Another node, which has taken its share of the lanes. */
  join(t: TestContext): Promise<Delivery>;
  /** A server's part in deliveries; everything before it has been committed and not sent. */
  deliver(applicationId?: string): Promise<void>;
};

async function openPlace(
  open: (t: TestContext) => ReturnType<Parameters<Parameters<typeof eachEngine>[1]>[0]>,
  t: TestContext,
  monotonicMs = () => performance.now(),
): Promise<Place> {
  const world = await createWorld(await open(t), [demoBank()]);
  const { services, clock } = world;
  const { storage, vault } = services;
  const delivery: Delivery = startDelivery({
    ...{ storage, vault, clock, policy: POLICY, version: '1.2.3', log: silentLog, random: () => 0.5, monotonicMs },
    onConfiguration: () =>
      void grantWishes(services, (id, move) => moveClock({ services, delivery }, id, move, new AbortController().signal)),
  });
  t.after(() => delivery.abandon());
  const management = managementOf(world, { moveClock: (id, move, signal) => moveClock({ services, delivery }, id, move, signal) });
  return {
    ...world,
    management,
    time: async () => (await readClock(services, APPLICATION))!.now,
    async webhook(url, events = EVENT_TYPES, applicationId = APPLICATION) {
      const created = await createEndpoint({ storage, vault, now: clock.now() }, applicationId, { name: 'test', url, events }, POLICY);
      if (created.outcome !== 'created') throw new Error(created.sentence);
      await delivery.tick();
      return created.endpoint.id;
    },
    advance: (advance) => management(200, 'POST', '/api/v1/sandbox/clock', { advance, deliveries: true }),
    async join(t) {
      const other = startDelivery({ storage, vault, clock, policy: POLICY, version: '1.2.3', log: silentLog, random: () => 0.5 });
      t.after(() => other.abandon());
      while (other.stats().lanes === 0) {
        await delivery.tick();
        await other.tick();
      }
      return other;
    },
    async deliver(applicationId = APPLICATION) {
      await delivery.rest(applicationId, new AbortController().signal);
      await delivery.tick();
    },
  };
}

const bodyOf = ({ body }: Received) => JSON.parse(body) as { type: string; timestamp: number; content: { item_id?: number } };
const itemOf = (received: Received) => bodyOf(received).content.item_id;

/** Answers as `statusAt` says for the application's time, and notes that time beside each request. */
async function receiverByTime(t: TestContext, place: Pick<Place, 'time'>, statusAt: (at: number, received: Received) => number) {
  const attempts: { at: number; id: string; status: number; received: Received }[] = [];
  const receiver = await startReceiver(t, async (_, response, received) => {
    const at = await place.time();
    const status = statusAt(at, received);
    attempts.push({ at, id: received.id, status, received });
    response.writeHead(status).end();
  });
  return { ...receiver, attempts };
}

/** Ids of the item's events as they stand in the log. */
const logged = async (place: Place, itemId: number, after = 0) =>
  (await place.events())
    .filter((event) => event.itemId === itemId && event.committedAt >= after)
    .sort((a, b) => a.seq - b.seq)
    .map(({ id }) => id);

eachEngine('deliveries by the test clock', (open, engine) => {
  test('a receiver that is down for a day gets its retries at their moments, then everything once and in order', async (t) => {
    const place = await openPlace(open, t);
    const itemId = await place.connect(DEMO, login('success'));
    const backAt = (await place.time()) + DAY_MS;
    const { url, attempts } = await receiverByTime(t, place, (at) => (at < backAt ? 500 : 200));
    await place.webhook(url);
    const moved = await place.advance('3d');
    const expected = (await logged(place, itemId)).slice(-moved.events);
    const [first] = expected;
    const firstAttempts = attempts.filter(({ id }) => id === first).map(({ at }) => at);
    assert.deepEqual(
      firstAttempts.slice(1).map((at, index) => at - firstAttempts[index]!),
      RETRY_DELAYS_MS.slice(0, firstAttempts.length - 1),
    );
    assert.ok(firstAttempts.at(-2)! < backAt && firstAttempts.at(-1)! >= backAt);
    const taken = attempts.filter(({ status }) => status === 200).map(({ id }) => id);
    assert.deepEqual(taken, expected);
    assert.deepEqual(moved.deliveries, { attempts: attempts.length, delivered: expected.length, waiting: 0, dead: 0 });
  });

  test('what one item cannot deliver is dead after about three days, and operators are told; the other item goes on', async (t) => {
    const place = await openPlace(open, t);
    const refused = await place.connect(DEMO, login('success'));
    const taken = await place.connect(DEMO, login('anything'));
    const operators = await startReceiver(t);
    const { url, attempts } = await receiverByTime(t, place, (_, received) => (itemOf(received) === refused ? 500 : 200));
    const id = await place.webhook(url);
    await place.webhook(operators.url, ['pontage.delivery.dead']);
    const began = await place.time();
    const moved = await place.advance('4d');
    const [first] = attempts.filter(({ received }) => itemOf(received) === refused);
    const times = attempts.filter((attempt) => attempt.id === first!.id).map(({ at }) => at);
    assert.deepEqual(
      times.slice(1).map((at, index) => at - times[index]!),
      RETRY_DELAYS_MS,
    );
    assert.ok(times.at(-1)! - times[0]! > 2 * DAY_MS && times.at(-1)! - began < 4 * DAY_MS);
    assert.equal(moved.deliveries.dead, 1);
    assert.equal(operators.received.length, 1);
    const told = JSON.parse(operators.received[0]!.body) as { type: string; content: { webhook_id: string; deliveries: number } };
    assert.equal(told.type, 'pontage.delivery.dead');
    assert.ok(operators.received[0]!.body.includes(id));
    const others = attempts.filter(({ received }) => itemOf(received) === taken).map((attempt) => attempt.id);
    assert.deepEqual(others, (await logged(place, taken)).slice(-others.length));
    assert.ok(others.length > 8);
    assert.ok(moved.deliveries.waiting > 0);
  });

  // 480 probes: what the clock does to them is the same on both.
  test('one that stays unreachable is probed, and disabled after five days of it', { skip: engine === 'postgres' }, async (t) => {
    const place = await openPlace(open, t);
    await place.connect(DEMO, login('success'));
    const operators = await receiverByTime(t, place, () => 200);
    const { url } = await unreachable();
    const id = await place.webhook(url);
    await place.webhook(operators.url, ['pontage.endpoint.failing', 'pontage.endpoint.disabled']);
    const moved = await place.advance('7d');
    assert.deepEqual(
      operators.attempts.map(({ received }) => bodyOf(received).type),
      ['pontage.endpoint.failing', 'pontage.endpoint.disabled'],
    );
    const [failing, disabled] = operators.attempts.map(({ at }) => at);
    const daysMs = disabled! - failing!;
    assert.ok(daysMs > 5 * DAY_MS - HOUR_MS && daysMs < 5 * DAY_MS + HOUR_MS, `${daysMs / DAY_MS} days`);
    assert.equal(moved.deliveries.delivered, 2);
    const probes = await place.services.storage.all<{ source: string }>(
      sql`select source from attempts where endpoint_id = ${id} and source = 'probe'`,
    );
    assert.ok(probes.length > 450 && probes.length < 500, `${probes.length}`);
  });

  test("another application's deliveries keep to real time", async (t) => {
    const place = await openPlace(open, t);
    const { storage } = place.services;
    await place.connect(DEMO, login('success'));
    await addNeighbour(place);
    const down = await startReceiver(t, (_, response) => response.writeHead(500).end());
    const well = await startReceiver(t);
    const neighbours = await place.webhook(down.url, EVENT_TYPES, NEIGHBOUR);
    await place.webhook(well.url);
    await appendOne(place, NEIGHBOUR);
    await place.deliver(NEIGHBOUR);
    const parked = () => storage.all(sql`select due_at, attempts from parked where endpoint_id = ${neighbours}`);
    const before = await parked();
    assert.equal(before.length, 1);
    const moved = await place.advance('2d');
    assert.equal(well.received.length, moved.events);
    assert.deepEqual(await parked(), before);
    assert.equal(down.received.length, 1);
  });

  test('without being asked for, an advance leaves retries to real time', async (t) => {
    const place = await openPlace(open, t);
    const { storage } = place.services;
    await place.connect(DEMO, login('success'));
    const down = await startReceiver(t, (_, response) => response.writeHead(500).end());
    const id = await place.webhook(down.url);
    await appendOne(place, APPLICATION);
    await place.deliver();
    const parked = () => storage.all(sql`select seq, due_at, attempts from parked where endpoint_id = ${id} and due_at is not null`);
    const before = await parked();
    assert.equal(before.length, 1);
    const moved = await place.management<Moved>(200, 'POST', '/api/v1/sandbox/clock', { advance: '6h' });
    assert.equal(moved.deliveries, undefined);
    assert.deepEqual(await parked(), before);
    const again = await place.advance('1m');
    assert.ok(again.deliveries.attempts >= 2);
  });

  test('a pause that the receiver asks for passes by the test clock', async (t) => {
    const place = await openPlace(open, t);
    await place.connect(DEMO, login('success'));
    let asked = false;
    const times: number[] = [];
    const receiver = await startReceiver(t, async (_, response) => {
      times.push(await place.time());
      if (!asked) response.writeHead(429, { 'retry-after': '3600' }).end();
      else response.end();
      asked = true;
    });
    await place.webhook(receiver.url);
    await appendOne(place, APPLICATION);
    await place.advance('2h');
    assert.equal(times[1]! - times[0]!, HOUR_MS);
  });

  if (engine === 'postgres') {
    test('two nodes share the lanes, and each retry still has its moment', async (t) => {
      const place = await openPlace(open, t);
      const items = [];
      for (const name of ['success', 'anything', 'else', 'more']) items.push(await place.connect(DEMO, login(name)));
      const other = await place.join(t);
      const backAt = (await place.time()) + 12 * HOUR_MS;
      const { url, attempts } = await receiverByTime(t, place, (at) => (at < backAt ? 500 : 200));
      await place.webhook(url);
      const moved = await place.advance('1d');
      assert.ok(other.stats().delivered > 0 && other.stats().lanes > 0);
      for (const itemId of items) {
        const taken = attempts.filter(({ status, received }) => status === 200 && itemOf(received) === itemId).map(({ id }) => id);
        assert.ok(taken.length > 2);
        assert.deepEqual(taken, (await logged(place, itemId)).slice(-taken.length));
      }
      assert.deepEqual([moved.deliveries.delivered, moved.deliveries.waiting], [attempts.filter(({ status }) => status === 200).length, 0]);
    });
  }

  test('a receiver that answers nothing ends the advance where the clock stands; it goes on when that is over', async (t) => {
    let passedMs = 0;
    const place = await openPlace(open, t, () => performance.now() + passedMs);
    await place.connect(DEMO, login('success'));
    const held: (() => void)[] = [];
    let answers = false;
    const receiver = await startReceiver(t, (_, response) => {
      if (answers) response.end();
      else held.push(() => response.end());
      if (!answers) passedMs += REST_MAX_MS;
    });
    await place.webhook(receiver.url);
    const to = (await place.time()) + 2 * DAY_MS;
    const refused = await place.management<{ type: string; message: string }>(503, 'POST', '/api/v1/sandbox/clock', {
      advance: '2d',
      deliveries: true,
    });
    assert.deepEqual([refused.type, refused.message], ['unavailable', RESTLESS]);
    const stands = await place.time();
    assert.ok(stands < to - DAY_MS);
    answers = true;
    for (const answer of held) answer();
    const moved = await place.advance('2d');
    assert.equal(Date.parse(moved.now), stands + 2 * DAY_MS);
    assert.equal(moved.deliveries.waiting, 0);
    assert.deepEqual(new Set(receiver.received.map(({ id }) => id)).size, receiver.received.length);
  });

  test('without a server the command line says so, and its wish is gone', async (t) => {
    const { services } = await createWorld(await open(t), [demoBank()]);
    assert.deepEqual(await askServer(services, APPLICATION, { byMs: DAY_MS }, 0), { ok: false, refusal: 'no server' });
    assert.deepEqual(await services.storage.all(sql`select id from clock_wishes`), []);
  });

  test('the command line asks a server, which answers', async (t) => {
    const place = await openPlace(open, t);
    const { services } = place;
    await place.connect(DEMO, login('success'));
    const receiver = await startReceiver(t);
    await place.webhook(receiver.url);
    const moved = await askServer(services, APPLICATION, { byMs: 2 * DAY_MS });
    assert.ok(moved.ok);
    assert.equal(moved.now - moved.from, 2 * DAY_MS);
    assert.equal(receiver.received.length, moved.events);
    assert.deepEqual(moved.deliveries, { attempts: moved.events, delivered: moved.events, waiting: 0, dead: 0 });
    assert.deepEqual(await askServer(services, APPLICATION, { to: moved.from }), { ok: false, refusal: 'backward' });
    assert.deepEqual(await services.storage.all(sql`select id from clock_wishes`), []);
  });

  test('a month with a receiver that is well: each event once, in order, before the clock goes on', async (t) => {
    const place = await openPlace(open, t);
    const itemId = await place.connect(DEMO, login('success'));
    const { url, attempts } = await receiverByTime(t, place, () => 200);
    await place.webhook(url);
    const cpuBefore = process.cpuUsage();
    const moved = await place.advance('30d');
    const { user, system } = process.cpuUsage(cpuBefore);
    t.diagnostic(`${attempts.length} deliveries in ${Math.round((user + system) / 1000)} ms of processor time`);
    assert.deepEqual(
      attempts.map(({ id }) => id),
      (await logged(place, itemId)).slice(-moved.events),
    );
    assert.ok(attempts.every(({ at, received }) => at - bodyOf(received).timestamp < MINUTE_MS));
    assert.deepEqual(moved.deliveries, { attempts: moved.events, delivered: moved.events, waiting: 0, dead: 0 });
  });
});

/** A port that nobody listens on any more. */
async function unreachable(): Promise<Pick<Receiver, 'url'>> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return { url: `http://127.0.0.1:${port}/` };
}

async function addNeighbour({ services }: Place): Promise<void> {
  await services.storage.transaction((tx) =>
    tx.run(sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
               values (${NEIGHBOUR}, 'neighbour', 'sandbox', ${NEIGHBOUR}, '', 0)`),
  );
}

/** An event of an item of its own. */
async function appendOne({ services: { storage }, clock }: Place, applicationId: string): Promise<void> {
  await storage.transaction(async (tx) => {
    const [timestamp] = await takeTimestamps(tx, USER, clock.now(), 1);
    const draft = { type: 'item.created' as const, itemId: 77, userUuid: USER };
    await appendEvents(tx, { applicationId, refreshId: null, committedAt: clock.now() }, [{ draft, timestamp: timestamp! }]);
  });
}
