import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS } from '../base/clock.ts';
import { parkedOfEvent } from '../delivery/attempts/read.ts';
import { audit } from '../delivery/audit/audit.ts';
import { createWorld, startReceiver, type World } from '../delivery/testing.ts';
import { deleteEndpoint, findEndpoint } from '../endpoints/endpoints.ts';
import type { LoggedEvent } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import { ROWS_PER_DELETE } from './batches.ts';
import { forgetDeletedEndpoints } from './deleted-endpoints.ts';
import { everything, park, settleAll, TURNS } from './testing.ts';

/** Two full steps and a part of one. */
const EVENTS = 2 * ROWS_PER_DELETE + 50;

async function parkedFor({ storage }: World, endpointId: string): Promise<number> {
  return (await storage.first<{ count: number }>(sql`select count(*) as count from parked where endpoint_id = ${endpointId}`))!.count;
}

async function parkAll({ storage }: World, events: readonly LoggedEvent[], endpointId: string, state: string): Promise<void> {
  await storage.transaction((tx) =>
    tx.insertMany(
      'parked',
      ['endpoint_id', 'lane', 'seq', 'item_id', 'type', 'state', 'attempts', 'due_at', 'parked_at'],
      events.map(({ lane, seq, itemId, type }) => [endpointId, lane, seq, itemId, type, state, 11, null, 0]),
    ),
  );
}

/** All that the audit finds of a webhook, by class. */
async function standing({ storage }: World, endpointId: string): Promise<{ balanced: boolean; dead: number; skipped: number }> {
  const { hours, balanced } = await audit(storage, { from: 0 });
  const mine = hours.filter((hour) => hour.endpointId === endpointId);
  const sum = (of: 'dead' | 'skipped') => mine.reduce((total, hour) => total + hour[of], 0);
  return { balanced, dead: sum('dead'), skipped: sum('skipped') };
}

eachEngine('what a deleted webhook leaves', (open) => {
  test('goes step by step, with others in between, from where it was stopped', async (t) => {
    const world = await createWorld(await open(t), t);
    const { storage } = world;
    const [gone, stays] = [(await world.endpoint('http://127.0.0.1:1/')).endpoint, (await world.endpoint('http://127.0.0.1:1/')).endpoint];
    await world.append(Array.from({ length: EVENTS }, (_, index) => index % 7));
    const events = await everything(storage);
    await settleAll(storage);
    for (const { id } of [gone, stays]) await parkAll(world, events, id, 'dead');
    assert.deepEqual(await standing(world, gone.id), { balanced: true, dead: EVENTS, skipped: 0 });

    assert.equal(await deleteEndpoint({ storage, vault: world.vault, now: world.clock.now() }, gone.id), true);
    assert.equal(await findEndpoint(storage, gone.id), undefined);
    assert.equal(await parkedFor(world, gone.id), EVENTS, 'its owner does not wait for that');
    assert.deepEqual(await standing(world, gone.id), { balanced: true, dead: 0, skipped: EVENTS });
    assert.deepEqual(
      (await parkedOfEvent(storage, events[0]!)).map(({ endpointId }) => endpointId),
      [stays.id],
      'nor is it shown any more',
    );

    const left: number[] = [];
    const pause = async () => void left.push(await parkedFor(world, gone.id));
    let steps = 0;
    const mayGoOn = () => steps++ < 1;
    assert.equal(await forgetDeletedEndpoints({ storage, pause, mayGoOn }), ROWS_PER_DELETE);
    assert.deepEqual(await standing(world, gone.id), { balanced: true, dead: 0, skipped: EVENTS });
    // A server that did not know yet has written one behind the place that was reached.
    await storage.transaction((tx) =>
      tx.run(
        sql`insert into parked (endpoint_id, lane, seq, replay_id, type, state, attempts, parked_at) values (${gone.id}, 0, 1, 'rpl_late', '', 'dead', 1, 0)`,
      ),
    );
    assert.equal(await forgetDeletedEndpoints({ storage, ...TURNS, pause }), EVENTS - ROWS_PER_DELETE + 1);
    assert.deepEqual(left, [EVENTS - ROWS_PER_DELETE, 51]);
    assert.equal(await parkedFor(world, gone.id), 0);
    assert.equal(await parkedFor(world, stays.id), EVENTS);
    assert.deepEqual(await standing(world, gone.id), { balanced: true, dead: 0, skipped: EVENTS });
    assert.equal(await forgetDeletedEndpoints({ storage, ...TURNS }), 0);
  });

  test('goes once where several nodes are at it', async (t) => {
    const world = await createWorld(await open(t), t);
    const { storage } = world;
    const gone = (await world.endpoint('http://127.0.0.1:1/')).endpoint;
    await world.append(Array.from({ length: EVENTS }, (_, index) => index % 7));
    await parkAll(world, await everything(storage), gone.id, 'dead');
    await deleteEndpoint({ storage, vault: world.vault, now: world.clock.now() }, gone.id);
    const deleted = await Promise.all([1, 2, 3].map(() => forgetDeletedEndpoints({ storage, ...TURNS })));
    assert.equal(
      deleted.reduce((sum, rows) => sum + rows, 0),
      EVENTS,
    );
    assert.equal(await parkedFor(world, gone.id), 0);
  });

  test('is left alone by a server that begins, and holds up nobody else', async (t) => {
    const world = await createWorld(await open(t), t);
    const { storage } = world;
    const receiver = await startReceiver(t);
    const gone = (await world.endpoint(receiver.url)).endpoint;
    await world.append([1, 1]);
    const events = await everything(storage);
    for (const event of events) await park(storage, event, gone.id, 'waiting');
    await settleAll(storage);
    await deleteEndpoint({ storage, vault: world.vault, now: world.clock.now() }, gone.id);
    await world.endpoint(receiver.url);

    const delivery = await world.start();
    delivery.wake(await world.append([1, 2]));
    await delivery.settled(2);
    world.clock.advance(DAY_MS);
    await delivery.tick();
    await delivery.stop();
    assert.equal(receiver.received.length, 2);
    const due = await storage.all(sql`select seq from parked where endpoint_id = ${gone.id} and due_at is null`);
    assert.equal(due.length, 2, 'nothing of it was given a time');
    assert.equal(await forgetDeletedEndpoints({ storage, ...TURNS }), 2);
  });
});
