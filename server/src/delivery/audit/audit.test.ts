import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { eachEngine } from '../../../test/support/engines.ts';
import { HOUR_MS } from '../../base/clock.ts';
import { LANES, type LoggedEvent } from '../../events/log.ts';
import { type Sql, sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { APPLICATION, append, createApplication, deliver, endpoint, everything, park, settleAll } from '../../upkeep/testing.ts';
import { type AuditedHour, audit, balances } from './audit.ts';
import { CLASSES, type Class, classesOf, type Traces } from './classes.ts';

const NOW = 1_700_000_000_000 - (1_700_000_000_000 % HOUR_MS);
const write = (storage: Storage, statement: Sql) => storage.transaction((tx) => tx.run(statement));

suite('classes', () => {
  const nothing: Traces = {
    seq: 5,
    delivered: null,
    parked: null,
    erased: false,
    skipped: null,
    endpointDeleted: false,
    position: null,
    laneSettled: 10,
  };

  test('what nothing is written about is lost below the settled position, and in flight above it', () => {
    assert.deepEqual(classesOf(nothing), []);
    assert.deepEqual(classesOf({ ...nothing, laneSettled: 4 }), ['inFlight']);
    assert.deepEqual(classesOf({ ...nothing, laneSettled: 5 }), []);
  });

  test('an endpoint that lags owes what is above its own position and not settled ahead', () => {
    assert.deepEqual(classesOf({ ...nothing, position: { settled: 4, ahead: [] } }), ['lagging']);
    assert.deepEqual(classesOf({ ...nothing, position: { settled: 5, ahead: [] } }), []);
    assert.deepEqual(classesOf({ ...nothing, position: { settled: 2, ahead: [[4, 5]] } }), []);
    assert.deepEqual(classesOf({ ...nothing, position: { settled: 5, ahead: [] }, laneSettled: 0 }), [], 'the lane does not speak for it');
  });

  test('a delivery that is still parked is in two classes, but not when only a replay delivered it', () => {
    assert.deepEqual(classesOf({ ...nothing, delivered: 'itself', parked: 'retry' }), ['delivered', 'retry']);
    assert.deepEqual(classesOf({ ...nothing, delivered: 'replayed', parked: 'dead' }), ['dead']);
    assert.deepEqual(classesOf({ ...nothing, delivered: 'replayed' }), ['delivered']);
  });

  test('ranges speak only for what was not delivered', () => {
    assert.deepEqual(classesOf({ ...nothing, skipped: 'expired', delivered: 'itself' }), ['delivered']);
    assert.deepEqual(classesOf({ ...nothing, skipped: 'expired', position: { settled: 0, ahead: [] } }), ['expired']);
    assert.deepEqual(classesOf({ ...nothing, endpointDeleted: true }), ['skipped']);
    assert.deepEqual(classesOf({ ...nothing, erased: true, skipped: 'skipped' }), ['erased']);
  });
});

/** What the story does with one event for one endpoint. */
const FATES = ['delivered', 'retried', 'probed', 'retry', 'waiting', 'dead', 'skipped', 'expired', 'erased', 'replayed'] as const;
type Fate = (typeof FATES)[number];
const CLASS_OF: Record<Fate, Class> = {
  delivered: 'delivered',
  retried: 'delivered',
  probed: 'delivered',
  retry: 'retry',
  waiting: 'waiting',
  dead: 'dead',
  skipped: 'skipped',
  expired: 'expired',
  erased: 'erased',
  replayed: 'dead',
};

async function suffer(storage: Storage, event: LoggedEvent, endpointId: string, fate: Fate): Promise<void> {
  switch (fate) {
    case 'delivered':
      return deliver(storage, [event], endpointId);
    case 'retried':
      return deliver(storage, [event], endpointId, 'retry');
    case 'probed':
      return deliver(storage, [event], endpointId, 'probe');
    case 'retry':
    case 'waiting':
    case 'dead':
      return park(storage, event, endpointId, fate);
    case 'replayed':
      await park(storage, event, endpointId, 'dead');
      return deliver(storage, [event], endpointId, 'replay');
    case 'skipped':
    case 'expired':
      await write(
        storage,
        sql`insert into skipped (endpoint_id, lane, after_seq, through_seq, reason, at)
            values (${endpointId}, ${event.lane}, ${event.seq - 1}, ${event.seq}, ${fate}, 0)`,
      );
      return;
    case 'erased':
      await write(storage, sql`update events set erased = 1, content = '{}' where lane = ${event.lane} and seq = ${event.seq}`);
      return;
    default:
      return fate satisfies never;
  }
}

const sumOf = (rows: readonly AuditedHour[], name: Class | 'matched') => rows.reduce((sum, row) => sum + row[name], 0);

eachEngine('audit', (open) => {
  test('counts each pair in its class, endpoint by endpoint and hour by hour', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    await createApplication(storage, 'app_other');
    await endpoint(storage, 'wh_one');
    await endpoint(storage, 'wh_two');
    await endpoint(storage, 'wh_other', 'app_other');
    await append(storage, [1, 2, 3], NOW);
    await append(storage, [1], NOW + HOUR_MS);
    const events = await everything(storage);
    await deliver(storage, events, 'wh_one');
    await settleAll(storage);
    // The second webhook stopped before all of it.
    for (let lane = 0; lane < LANES; lane += 1)
      await write(storage, sql`insert into endpoint_positions (endpoint_id, lane, settled, since) values ('wh_two', ${lane}, 0, 0)`);
    await append(storage, [3], NOW + HOUR_MS);

    const found = await audit(storage, { from: 0 });
    assert.ok(found.balanced);
    const hour = NOW / HOUR_MS;
    const shown = found.hours.map((row) => [
      row.endpointId,
      row.hour - hour,
      row.matched,
      row.delivered,
      row.lagging,
      row.inFlight,
      row.applicationId,
    ]);
    assert.deepEqual(shown, [
      ['wh_one', 0, 3, 3, 0, 0, APPLICATION],
      ['wh_one', 1, 2, 1, 0, 1, APPLICATION],
      ['wh_two', 0, 3, 0, 3, 0, APPLICATION],
      ['wh_two', 1, 2, 0, 2, 0, APPLICATION],
    ]);
    assert.equal(sumOf((await audit(storage, { from: NOW + 1 })).hours, 'matched'), 4);
    assert.equal(sumOf((await audit(storage, { from: 0, until: NOW + 1 })).hours, 'matched'), 6);
    assert.deepEqual((await audit(storage, { from: 0, applicationId: 'app_other' })).hours, []);
    assert.equal((await audit(storage, { from: 0, applicationId: APPLICATION })).hours.length, 4);
  });

  test('works out membership from the versions: changed filters, deleted webhooks, tests, and what tells of itself', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    await append(storage, [1, 1], NOW);
    const lane = (await everything(storage))[0]!.lane;
    await endpoint(storage, 'wh_one');
    const version = (number: number, types: string[], matching: number, seq: number) =>
      write(
        storage,
        sql`insert into endpoint_versions (endpoint_id, version, application_id, events, matching, from_positions, created_at)
            values ('wh_one', ${number}, ${APPLICATION}, ${JSON.stringify(types)}, ${matching}, ${JSON.stringify(Array.from({ length: LANES }, () => seq))}, 0)`,
      );
    await version(2, ['pontage.endpoint.failing'], 1, 2);
    await append(storage, [1], NOW);
    await version(3, ['item.created'], 1, 3);
    await append(storage, [1, 1, 1], NOW);
    await write(storage, sql`update events set endpoint_id = 'wh_one' where seq = 4`);
    await write(storage, sql`update events set type = 'item.created', about_endpoint_id = 'wh_one' where seq = 5`);
    const matched = async () => sumOf((await audit(storage, { from: 0 })).hours, 'matched');
    assert.equal(await matched(), 3, 'the first two and the sixth');
    await version(4, ['item.created'], 0, 6);
    await write(storage, sql`update endpoints set deleted_at = 1 where id = 'wh_one'`);
    await append(storage, [1], NOW);
    await settleAll(storage);
    const found = await audit(storage, { from: 0 });
    assert.ok(found.balanced);
    assert.equal(sumOf(found.hours, 'matched'), 3);
    assert.equal(sumOf(found.hours, 'skipped'), 3, 'who deletes a webhook gives up the rest');
    assert.ok(lane >= 0);
  });

  test('any history balances, and a row that is missing or too many is found and named', async (t) => {
    const fates = fc.array(fc.tuple(fc.nat(3), fc.constantFrom(...FATES), fc.constantFrom(...FATES)), { minLength: 3, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(fates, fc.nat(), async (plan, pick) => {
        const storage = await open(t);
        await createApplication(storage);
        for (const id of ['wh_one', 'wh_two']) await endpoint(storage, id);
        for (const [itemId] of plan) await append(storage, [itemId], NOW);
        const events = await everything(storage);
        const expected = new Map<string, Class>();
        for (const [index, event] of events.entries()) {
          const [, one, two] = plan[index]!;
          for (const [id, fate] of [
            ['wh_one', one],
            // An event is erased for all.
            ['wh_two', one === 'erased' ? 'erased' : two === 'erased' ? 'delivered' : two],
          ] as const) {
            await suffer(storage, event, id, fate);
            expected.set(`${event.id}/${id}`, CLASS_OF[fate]);
          }
        }
        await settleAll(storage);
        const found = await audit(storage, { from: 0 });
        assert.deepEqual(found.faults, []);
        assert.ok(found.balanced && found.hours.every(balances));
        for (const name of CLASSES)
          assert.equal(sumOf(found.hours, name), [...expected.values()].filter((one) => one === name).length, name);

        const certain = [...expected].filter(([, name]) => ['delivered', 'retry', 'waiting', 'dead'].includes(name));
        if (certain.length === 0) return;
        const [pair, name] = certain[pick % certain.length]!;
        const [eventId, endpointId] = pair.split('/') as [string, string];
        const { lane, seq } = events.find(({ id }) => id === eventId)!;
        await write(storage, sql`delete from attempts where endpoint_id = ${endpointId} and lane = ${lane} and seq = ${seq}`);
        await write(storage, sql`delete from parked where endpoint_id = ${endpointId} and lane = ${lane} and seq = ${seq}`);
        const lost = await audit(storage, { from: 0 });
        assert.deepEqual(lost.faults, [{ eventId, endpointId, classes: [] }], name);
        assert.equal(lost.balanced, false);
        assert.equal(lost.hours.filter((hour) => !balances(hour)).length, 1);
        const event = events.find(({ id }) => id === eventId)!;
        await deliver(storage, [event], endpointId);
        await park(storage, event, endpointId, 'retry');
        assert.deepEqual((await audit(storage, { from: 0 })).faults, [{ eventId, endpointId, classes: ['delivered', 'retry'] }]);
      }),
      { numRuns: 8 },
    );
  });

  test('a lane of many pages is read to its end, and no more than a hundred faults are named', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    await endpoint(storage, 'wh_one');
    await append(
      storage,
      Array.from({ length: 450 }, () => 1),
      NOW,
    );
    await settleAll(storage);
    const found = await audit(storage, { from: 0 });
    assert.equal(sumOf(found.hours, 'matched'), 450);
    assert.equal(found.faultCount, 450);
    assert.equal(found.faults.length, 100);
    await deliver(storage, await everything(storage), 'wh_one');
    assert.ok((await audit(storage, { from: 0 })).balanced);
  });
});
