import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../base/clock.ts';
import { audit, auditSegment } from '../delivery/audit/audit.ts';
import { createWorld, startReceiver } from '../delivery/testing.ts';
import { LANES, laneOf, readLane } from '../events/log.ts';
import { openNextSegment, readSegments } from '../events/segments.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { silentLog } from '../telemetry/log.ts';
import { dropPartitions, makePartitions, readPartitions } from './partitions.ts';
import { OWED_DAYS_MAX, type RetentionServices, retireOldest } from './retention.ts';
import { AHEAD_MAX_MS, createSteadiness, STEADY_AFTER_MS } from './steadiness.ts';
import { APPLICATION, append, createApplication, deliver, endpoint, everything, laneOfItem, park, settleAll } from './testing.ts';
import { keepByAge, keepLog } from './upkeep.ts';

const NOW = 1_700_000_000_000 - (1_700_000_000_000 % HOUR_MS);
const ITEMS = [1, 2, 3, 4, 5];

const services = (storage: Storage): RetentionServices => ({
  storage,
  retentionDays: 30,
  auditSegment: (segment, ends, turn) => auditSegment(storage, segment, ends, turn),
  pause: () => new Promise((resolve) => setImmediate(resolve)),
  mayGoOn: () => true,
});

/** One round of upkeep for the log at this time. */
const round = (storage: Storage, now: number) =>
  keepLog({ ...services(storage), clock: { now: () => now }, log: silentLog }, { believed: now, plausible: true });

const at = (now: number) => ({ now, believed: now });

/** A process that has just started, on a clock of its own; each round answers how many events there are after it. */
function startServer(storage: Storage, startedAt: number) {
  let now = startedAt;
  let monotonicMs = 0;
  const clock = { now: () => now };
  const warnings: Record<string, unknown>[] = [];
  const log = { ...silentLog, warn: (fields: Record<string, unknown>) => void warnings.push(fields) };
  const steadiness = createSteadiness({ storage, clock, monotonicMs: () => monotonicMs });
  return {
    warnings,
    jump(ms: number) {
      now += ms;
    },
    async round(afterMs: number) {
      now += afterMs;
      monotonicMs += afterMs;
      await keepByAge({ steadiness, log }, (time) => keepLog({ ...services(storage), clock, log }, time));
      return count(storage, 'events');
    },
  };
}

async function count(storage: Storage, table: 'events' | 'attempts' | 'parked' | 'skipped' | 'segments'): Promise<number> {
  const counts = {
    events: sql`select count(*) as count from events`,
    attempts: sql`select count(*) as count from attempts`,
    parked: sql`select count(*) as count from parked`,
    skipped: sql`select count(*) as count from skipped`,
    segments: sql`select count(*) as count from segments`,
  };
  return (await storage.first<{ count: number }>(counts[table]))!.count;
}

/** Two days of events for one webhook, each day in a segment of its own; all of it delivered. */
async function twoDays(storage: Storage): Promise<void> {
  await createApplication(storage);
  await endpoint(storage, 'wh_one');
  for (const day of [0, 1]) {
    await append(storage, ITEMS, NOW + day * DAY_MS);
    await append(storage, ITEMS, NOW + day * DAY_MS + HOUR_MS);
    await round(storage, NOW + (day + 1) * DAY_MS);
  }
  await deliver(storage, await everything(storage), 'wh_one');
  await settleAll(storage);
  assert.deepEqual(
    (await readSegments(storage)).map(({ segment, closedAt }) => [segment, closedAt]),
    [
      [1, NOW + DAY_MS],
      [2, NOW + 2 * DAY_MS],
      [3, null],
    ],
  );
}

const hoursOf = async (storage: Storage) =>
  (await audit(storage, { from: 0 })).hours.map(({ hour, matched, delivered, dead, expired }) => ({
    hour: hour - NOW / HOUR_MS,
    matched,
    delivered,
    dead,
    expired,
  }));

eachEngine('retention', (open, engine) => {
  test('deletes nothing because the clock has jumped ahead, says so, and goes on when the jump has stood for an hour', async (t) => {
    const storage = await open(t);
    await twoDays(storage);
    const server = startServer(storage, NOW + 2 * DAY_MS);
    assert.equal(await server.round(0), 20);
    assert.equal(await server.round(STEADY_AFTER_MS), 20);
    server.jump(40 * DAY_MS);
    assert.equal(await server.round(0), 20);
    assert.equal(await server.round(STEADY_AFTER_MS - 1), 20);
    assert.deepEqual(server.warnings, [{ jumpedMs: 40 * DAY_MS }]);
    assert.equal(await server.round(1), 10);
  });

  test('goes on soon after a start, by what an earlier run has read of the clock, and not by what it says now', async (t) => {
    const storage = await open(t);
    await twoDays(storage);
    const runAt = (now: number) => startServer(storage, now).round(0);
    // Nobody knows yet what this clock is worth.
    assert.equal(await runAt(NOW + 31 * DAY_MS), 20);
    assert.equal(await runAt(NOW + 31 * DAY_MS + STEADY_AFTER_MS - 1), 20);
    assert.equal(await runAt(NOW + 31 * DAY_MS + STEADY_AFTER_MS), 10, 'the reading of the first run has stood for an hour');
    // A year ahead: only what was old before has its time, and the year is not believed by starting once more.
    for (const minutes of [0, 1, 59]) assert.equal(await runAt(NOW + 400 * DAY_MS + minutes * MINUTE_MS), 10);
    assert.equal(await runAt(NOW + 32 * DAY_MS), 10, 'set right again');
    assert.equal(await runAt(NOW + 33 * DAY_MS), 0);
  });

  test('gives a log its segments also where no run lasts an hour, and finds every event by its time', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    const days = [0, 1, 2, 3];
    for (const day of days) {
      const now = NOW + day * DAY_MS;
      await append(storage, ITEMS, now);
      await startServer(storage, now + MINUTE_MS).round(0);
    }
    const segments = await readSegments(storage);
    assert.ok(segments.length >= 3, `${segments.length} segments`);
    for (const { segment, committedAt } of await everything(storage)) {
      const { openedAt, closedAt } = segments.find((one) => one.segment === segment)!;
      assert.ok(openedAt <= committedAt && committedAt <= (closedAt ?? Number.POSITIVE_INFINITY));
    }
    // Far ahead, it closes none: that one would be kept until then.
    await append(storage, ITEMS, NOW + 4 * DAY_MS);
    await startServer(storage, NOW + 5 * DAY_MS + AHEAD_MAX_MS).round(0);
    assert.equal((await readSegments(storage)).length, segments.length);
  });

  test('takes whole segments when their time has come, and what the audit found of them stays', async (t) => {
    const storage = await open(t);
    await twoDays(storage);
    const before = await hoursOf(storage);
    assert.equal(before.length, 4);
    await round(storage, NOW + 31 * DAY_MS - 1);
    assert.equal(await count(storage, 'events'), 20);
    await round(storage, NOW + 31 * DAY_MS);
    assert.equal(await count(storage, 'events'), 10);
    assert.equal(await count(storage, 'attempts'), 10);
    assert.deepEqual(
      (await readSegments(storage)).map(({ segment }) => segment),
      [2, 3],
    );
    assert.deepEqual(await hoursOf(storage), before);
    const { starts } = (await readSegments(storage))[0]!;
    const lane = laneOfItem(1);
    assert.equal((await readLane(storage, lane, 0, 10))[0]?.seq, starts[lane]! + 1);
    await round(storage, NOW + 60 * DAY_MS);
    assert.deepEqual([await count(storage, 'events'), await count(storage, 'attempts'), await count(storage, 'segments')], [0, 0, 1]);
    assert.deepEqual(await hoursOf(storage), before);
    assert.equal((await audit(storage, { from: 0 })).balanced, true);
    if (engine === 'postgres') assert.deepEqual([...new Set((await readPartitions(storage)).map(({ segment }) => segment))].sort(), [3, 4]);
    await append(storage, ITEMS, NOW + 60 * DAY_MS);
    assert.equal((await everything(storage)).length, 5);
  });

  test('keeps what is owed, at most 90 days; then it has expired, and that is told', async (t) => {
    const storage = await open(t);
    await twoDays(storage);
    await endpoint(storage, 'wh_lags');
    await endpoint(storage, 'wh_retries');
    const events = await everything(storage);
    const [first, second, ...rest] = events.filter(({ segment }) => segment === 1);
    await deliver(storage, [...rest, ...events.filter(({ segment }) => segment === 2)], 'wh_retries');
    await park(storage, first!, 'wh_retries', 'retry');
    await park(storage, second!, 'wh_retries', 'dead');
    for (let lane = 0; lane < LANES; lane += 1) {
      await storage.transaction((tx) =>
        tx.run(sql`insert into endpoint_positions (endpoint_id, lane, settled, since) values ('wh_lags', ${lane}, 0, 0)`),
      );
    }
    assert.deepEqual(await retireOldest(services(storage), at(NOW + 90 * DAY_MS)), { outcome: 'kept', segment: 1 });
    assert.equal(await count(storage, 'events'), 20);
    const end = NOW + DAY_MS + OWED_DAYS_MAX * DAY_MS;
    assert.deepEqual(await retireOldest(services(storage), at(end)), { outcome: 'retired', segment: 1, expired: 11, unbalanced: 0 });
    assert.equal(await count(storage, 'parked'), 0, 'nothing can be sent without its event');
    assert.equal(await count(storage, 'skipped'), 0);
    const found = await audit(storage, { from: 0 });
    assert.ok(found.balanced, JSON.stringify(found.faults));
    const sum = (id: string, name: 'expired' | 'dead' | 'delivered' | 'matched' | 'lagging') =>
      found.hours.filter(({ endpointId }) => endpointId === id).reduce((total, row) => total + row[name], 0);
    assert.deepEqual([sum('wh_lags', 'expired'), sum('wh_lags', 'lagging'), sum('wh_lags', 'matched')], [10, 10, 20]);
    assert.deepEqual([sum('wh_retries', 'expired'), sum('wh_retries', 'dead'), sum('wh_retries', 'delivered')], [1, 1, 18]);
    const told = (await readLane(storage, laneOf(`application:${APPLICATION}`), 0, 100)).filter(({ type }) => type.startsWith('pontage.'));
    assert.deepEqual(
      told.map(({ aboutEndpointId, content }) => [aboutEndpointId, (JSON.parse(content) as { count: number }).count]).sort(),
      [
        ['wh_lags', 10],
        ['wh_retries', 1],
      ],
    );
    assert.ok(told.every(({ content }) => content.includes('"cause":"expired"')));
  });

  test('waits for deliveries that are in flight, however old, and not for webhooks that are deleted or want nothing of it', async (t) => {
    const storage = await open(t);
    await twoDays(storage);
    await createApplication(storage, 'app_empty');
    await endpoint(storage, 'wh_gone');
    await endpoint(storage, 'wh_elsewhere', 'app_empty');
    for (const id of ['wh_gone', 'wh_elsewhere']) {
      await storage.transaction((tx) =>
        tx.run(sql`insert into endpoint_positions (endpoint_id, lane, settled, since) values (${id}, ${laneOfItem(1)}, 0, 0)`),
      );
    }
    await storage.transaction((tx) => tx.run(sql`update endpoints set deleted_at = 1 where id = 'wh_gone'`));
    await storage.transaction((tx) => tx.run(sql`update lane_leases set settled = 0 where lane = ${laneOfItem(1)}`));
    assert.deepEqual(await retireOldest(services(storage), at(NOW + 200 * DAY_MS)), { outcome: 'kept', segment: 1 });
    await settleAll(storage);
    assert.equal((await retireOldest(services(storage), at(NOW + 40 * DAY_MS))).outcome, 'retired');
  });

  test('goes on where it was stopped', async (t) => {
    const storage = await open(t);
    await twoDays(storage);
    const before = await hoursOf(storage);
    let steps = 0;
    const outcomes: string[] = [];
    // Each time a step further, later many, until it is through: 23 have no divisor in common with the lanes.
    for (let allowed = 0; outcomes.at(-1) !== 'retired'; allowed += allowed < 12 ? 1 : 23) {
      steps = 0;
      const mayGoOn = () => steps++ < allowed;
      outcomes.push((await retireOldest({ ...services(storage), mayGoOn }, at(NOW + 40 * DAY_MS))).outcome);
      assert.deepEqual(await hoursOf(storage), before, `after ${allowed} steps`);
      assert.ok(allowed < 300);
    }
    assert.ok(outcomes.length > 2 && outcomes.slice(0, -1).every((outcome) => outcome === 'stopped'));
    assert.equal(await count(storage, 'events'), 10);
  });

  test('small deletions let others in between', { skip: engine === 'postgres' }, async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    for (let each = 0; each < 5; each += 1)
      await append(
        storage,
        Array.from({ length: 200 }, () => 1),
        NOW,
      );
    await round(storage, NOW + DAY_MS);
    await settleAll(storage);
    let pauses = 0;
    const pause = async () => {
      pauses += 1;
      await append(storage, [1], NOW + 2 * DAY_MS);
    };
    assert.equal((await retireOldest({ ...services(storage), pause }, at(NOW + 31 * DAY_MS))).outcome, 'retired');
    assert.equal(pauses, 10, 'five pages of the audit, five deletions');
    assert.equal(await count(storage, 'events'), pauses);
  });

  test('a delivery under way whose segment goes does not hold up the others', async (t) => {
    const world = await createWorld(await open(t), t);
    const held = Promise.withResolvers<void>();
    const receiver = await startReceiver(t, async (_, response) => {
      await held.promise;
      response.end();
    });
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await receiver.until(1);
    await makePartitions(world.storage, 1, 2);
    await world.storage.transaction((tx) => openNextSegment(tx, world.storage, 1, { openedAt: NOW, closedAt: NOW }));
    await world.storage.transaction((tx) => tx.run(sql`update segments set frozen_at = 1 where segment = 1`));
    if (engine === 'postgres') assert.ok(await dropPartitions(world.storage, 1));
    else await world.storage.transaction((tx) => tx.run(sql`delete from events`));
    delivery.wake(await world.append([2]));
    await receiver.until(2);
    held.resolve();
    await delivery.settled(2);
    const attempts = await world.storage.all<{ segment: number }>(sql`select segment from attempts where segment > 1`);
    assert.equal(attempts.length, 1);
  });

  test('a partition that is being read is left for the next round, half detached or not', { skip: engine === 'sqlite' }, async (t) => {
    const storage = await open(t);
    await twoDays(storage);
    const stateOf = async () =>
      (await readPartitions(storage)).filter(({ segment }) => segment === 1).map(({ parent, state }) => `${parent} ${state}`);
    await storage.transaction(async (tx) => {
      await tx.all(sql`select count(*) as count from events`);
      assert.equal(await dropPartitions(storage, 1), false);
      assert.deepEqual(await stateOf(), ['events detaching'], 'the attempts went, nobody read them');
      // Meanwhile the log is read and written.
      await append(storage, ITEMS, NOW + 2 * DAY_MS);
      assert.equal((await everything(storage)).length, 15);
      assert.equal(await dropPartitions(storage, 1), false);
    });
    assert.equal(await dropPartitions(storage, 1), true);
    assert.deepEqual(await stateOf(), []);
    assert.equal(await dropPartitions(storage, 1), true, 'and once more does no harm');
    assert.equal((await everything(storage)).length, 15);
  });
});
