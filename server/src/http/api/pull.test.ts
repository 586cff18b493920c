import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { eachEngine, openEngine } from '../../../test/support/engines.ts';
import { explaining } from '../../../test/support/explain.ts';
import { appendTestEvent } from '../../events/append.ts';
import { LOOK_EVERY_MS } from '../../events/arrivals.ts';
import { placeOfNow, placeOfOldest, readPage, SCAN_MAX } from '../../events/follow.ts';
import { eventId, laneOf } from '../../events/log.ts';
import { openNextSegment } from '../../events/segments.ts';
import { sql } from '../../storage/sql.ts';
import type { Writer } from '../../storage/storage.ts';
import { makePartitions } from '../../upkeep/partitions.ts';
import { addEvents, appendCreated, type House, openHouse, refused, START, stories, type Tenant, TURNS_MAX } from './harness.ts';
import { WAITING_OF_APPLICATION_MAX } from './pull.ts';

type Pulled = {
  events: { id: string; type: string; item_id: number; body: { content: { item_id: number } } }[];
  next: string;
  has_more: boolean;
};

const pull = (app: Tenant, query = '') => app.read<Pulled>(`/api/v1/events${query}`);
const itemsOf = ({ events }: Pulled) => events.map((event) => event.item_id);
const after = ({ next }: Pulled, more = '') => `?after=${next}${more}`;

/** Until this many requests wait, by turns of the event loop. */
async function untilWaiting(house: House, count: number): Promise<void> {
  for (let turns = 0; house.arrivals.waiting !== count; turns += 1) {
    assert.ok(turns < TURNS_MAX, `${house.arrivals.waiting} wait, not ${count}`);
    await new Promise(setImmediate);
  }
}

stories('pulling', (story) => {
  story('every event comes once, with the id and the bytes of its webhook, an item in its order', async (house) => {
    const app = await house.application();
    const other = await house.application();
    const items = Array.from({ length: 40 }, (_, index) => index + 1);
    for (let round = 0; round < 5; round += 1) {
      await addEvents(house.storage, app, items, START + round * 1_000);
      await addEvents(house.storage, other, items, START);
    }
    const seen: Pulled['events'] = [];
    let page = await pull(app, '?limit=7');
    seen.push(...page.events);
    while (page.has_more) {
      page = await pull(app, after(page, '&limit=7'));
      seen.push(...page.events);
    }
    assert.equal(seen.length, 200);
    assert.equal(new Set(seen.map(({ id }) => id)).size, 200);
    for (const item of items) {
      const timestamps = seen
        .filter((event) => event.item_id === item)
        .map(({ body }) => (body as unknown as { timestamp: number }).timestamp);
      assert.deepEqual(
        timestamps,
        [...timestamps].sort((a, b) => a - b),
      );
      assert.equal(timestamps.length, 5);
    }
    const one = await (await app.get(`/api/v1/events/${seen[0]!.id}`)).text();
    const whole = await (await app.get('/api/v1/events?limit=500')).text();
    assert.ok(whole.includes(/"body":(\{.*?\}),"attempts"/.exec(one)![1]!));
    assert.deepEqual((await pull(app, after(page))).events, []);
    await addEvents(house.storage, app, [3]);
    assert.deepEqual(itemsOf(await pull(app, after(page))), [3]);
  });

  story('from now on means from now on; kinds are chosen; test events and erased ones are left out', async (house) => {
    const app = await house.application();
    await addEvents(house.storage, app, [1]);
    const now = await pull(app, '?after=now');
    assert.deepEqual(now.events, []);
    await addEvents(house.storage, app, [2]);
    await house.storage.transaction((tx) =>
      appendTestEvent(tx, { applicationId: app.id, refreshId: null, committedAt: START, endpointId: 'wh_1' }),
    );
    assert.deepEqual(itemsOf(await pull(app, after(now))), [2]);
    assert.deepEqual((await pull(app, '?types=item.refreshed,item.account.deleted')).events, []);
    assert.deepEqual(itemsOf(await pull(app, '?types=item.refreshed,item.created')).sort(), [1, 2]);
    await house.storage.transaction((tx) => tx.run(sql`update events set erased = 1 where item_id = 1`));
    assert.deepEqual(itemsOf(await pull(app)), [2]);
    // An erasure that has not come to its events yet.
    await house.storage.transaction((tx) =>
      tx.run(sql`insert into erasures (id, application_id, kind, state, work, counts, requested_at)
                 values ('era_1', ${app.id}, 'item', 'running', '[{"itemId":2}]', '{}', ${START})`),
    );
    assert.deepEqual(itemsOf(await pull(app)), []);
    for (const query of ['types=item.create', 'limit=0', 'limit=501', 'wait=31', 'wait=-1', 'webhook=1'])
      await refused(await app.get(`/api/v1/events?${query}`), 400, 'bad_request');
  });

  story('a page reads so many events and no more: it may be empty, and its position goes on', async (house) => {
    const app = await house.application();
    const item = 1;
    await addEvents(house.storage, app, Array<number>(SCAN_MAX + 5).fill(item));
    const first = await pull(app, '?types=item.account.deleted');
    assert.deepEqual([first.events, first.has_more], [[], true]);
    const second = await pull(app, after(first, '&limit=500'));
    assert.deepEqual(
      second.events.map(({ id }) => id),
      [1, 2, 3, 4, 5].map((seq) => eventId(laneOf(`item:${item}`), SCAN_MAX + seq)),
    );
    assert.equal(second.has_more, false);
  });

  story('a busy lane does not keep the others waiting', async (house) => {
    const app = await house.application();
    const busy = 1;
    const quiet = 2;
    assert.ok(laneOf(`item:${busy}`) !== laneOf(`item:${quiet}`));
    await addEvents(house.storage, app, [...Array<number>(50).fill(busy), quiet]);
    let page = await pull(app, '?limit=5');
    for (let pages = 1; !itemsOf(page).includes(quiet); pages += 1) {
      assert.ok(pages < 3);
      await addEvents(house.storage, app, Array<number>(5).fill(busy));
      page = await pull(app, after(page, '&limit=5'));
    }
  });

  story("another application's position, a made-up one, and one of another database are refused", async (house) => {
    const app = await house.application();
    const other = await house.application();
    await addEvents(house.storage, app, [1, 2, 3]);
    const { next } = await pull(app);
    await refused(await other.get(`/api/v1/events?after=${next}`), 400, 'invalid_cursor');
    for (const text of ['', 'x', 'AAAA', next.slice(1), `${next}A`, encodeURIComponent("' or 1=1")])
      await refused(await app.get(`/api/v1/events?after=${text}`), 400, 'invalid_cursor');
    await house.storage.transaction((tx) => tx.run(sql`update lane_heads set head = 0`));
    assert.match(await refused(await app.get(`/api/v1/events?after=${next}`), 400, 'invalid_cursor'), /another database/);
  });

  story('a position older than what is kept answers 410, and without one reading begins at the oldest', async (house) => {
    const app = await house.application();
    await addEvents(house.storage, app, [1]);
    const start = await pull(app, '?after=now');
    await addEvents(house.storage, app, [1, 1]);
    if (house.storage.engine === 'postgres') await makePartitions(house.storage, 2, 2);
    await house.storage.transaction((tx) => openNextSegment(tx, house.storage, 1, { openedAt: START, closedAt: START }));
    // As retention begins: it freezes the segment, and takes its events afterwards.
    await house.storage.transaction((tx) => tx.run(sql`update segments set frozen_at = ${START} where segment = 1`));
    await addEvents(house.storage, app, [1]);
    await refused(await app.get(`/api/v1/events?after=${start.next}`), 410, 'events_expired');
    assert.deepEqual(
      (await pull(app)).events.map(({ id }) => id),
      [eventId(laneOf('item:1'), 4)],
    );
  });

  story('waiting ends with an event of the application, not with those of others, and else with its time', async (house) => {
    const app = await house.application();
    const other = await house.application();
    const start = await pull(app);
    const request = pull(app, after(start, '&wait=30'));
    await untilWaiting(house, 1);
    await addEvents(house.storage, other, [1, 2, 3]);
    const startedAt = house.clock.now();
    const inBetween = new Promise<void>((resolve) => void house.clock.later(resolve, 5_000));
    await house.clock.until(inBetween, LOOK_EVERY_MS);
    await untilWaiting(house, 1);
    await addEvents(house.storage, app, [7]);
    const page = await house.clock.until(request, LOOK_EVERY_MS);
    assert.deepEqual(itemsOf(page), [7]);
    assert.ok(house.clock.now() - startedAt < 6_000);

    const inVain = pull(app, after(page, '&wait=2'));
    await untilWaiting(house, 1);
    house.clock.advance(2_000);
    const empty = await inVain;
    assert.deepEqual([empty.events, empty.has_more], [[], false]);
    assert.equal(house.arrivals.waiting, 0);
  });

  story('events of others wake nobody, neither at the look that finds them nor at the next ones', async (house) => {
    const app = await house.application();
    const other = await house.application();
    await addEvents(house.storage, app, [7]);
    const { seqs } = await placeOfNow(house.storage);
    let arrived: boolean | null = null;
    const waiting = house.arrivals.wait(app.id, seqs, { timeoutMs: 60_000 }).then((answer) => {
      arrived = answer;
    });
    const pass = (ms: number) => house.clock.until(new Promise<void>((resolve) => void house.clock.later(resolve, ms)), LOOK_EVERY_MS);
    await pass(5 * LOOK_EVERY_MS);
    await addEvents(house.storage, other, [1, 2, 3]);
    await pass(5 * LOOK_EVERY_MS);
    await addEvents(house.storage, other, [1, 2, 3]);
    await pass(5 * LOOK_EVERY_MS);
    assert.equal(arrived, null);
    await addEvents(house.storage, app, [7]);
    await house.clock.until(waiting, LOOK_EVERY_MS);
    assert.equal(arrived, true);
  });

  story('so many may wait and no more; the end of the server lets them go', async (house) => {
    const app = await house.application();
    const { next } = await pull(app);
    const waiting = Array.from({ length: WAITING_OF_APPLICATION_MAX }, () => pull(app, `?after=${next}&wait=30`));
    await untilWaiting(house, WAITING_OF_APPLICATION_MAX);
    await refused(await app.get(`/api/v1/events?after=${next}&wait=1`), 429, 'too_many_requests');
    house.arrivals.close();
    for (const page of await Promise.all(waiting)) assert.deepEqual(page.events, []);
    assert.deepEqual((await pull(app, `?after=${next}&wait=30`)).events, []);
  });

  story('a caller who hangs up waits no more', async (house) => {
    const app = await house.application();
    const { next } = await pull(app);
    const hangUp = new AbortController();
    const request = house.fetch(`/api/v1/events?after=${next}&wait=30`, { headers: app.headers, signal: hangUp.signal });
    await untilWaiting(house, 1);
    hangUp.abort();
    await untilWaiting(house, 0);
    await request;
  });
});

eachEngine('reading pages of events', (open) => {
  test('uses the index on application, lane and seq', async (t) => {
    const house = openHouse(await open(t));
    const app = await house.application();
    await addEvents(
      house.storage,
      app,
      Array.from({ length: 300 }, (_, index) => index),
    );
    const reader = explaining(house.storage);
    const place = await placeOfOldest(house.storage);
    for (const types of [null, new Set(['item.refreshed'])]) {
      const page = await readPage(reader, { applicationId: app.id, place, types, limit: 500 });
      assert.equal(page!.events.length, types === null ? 300 : 0);
    }
    assert.ok(reader.statements >= 8);
    reader.assertNoFullScan(['events']);
  });
});

suite('commits out of their order on postgres', () => {
  /** A transaction that has appended and is not committed yet. */
  async function begin(house: House, app: Tenant, items: readonly number[]) {
    const { promise: mayCommit, resolve: commit } = Promise.withResolvers<void>();
    const { promise: appended, resolve } = Promise.withResolvers<void>();
    const done = house.storage.transaction(async (tx: Writer) => {
      await appendCreated(tx, app, items, START);
      resolve();
      await mayCommit;
    });
    return {
      appended,
      commit() {
        commit();
        return done;
      },
    };
  }

  test('an event that commits late is not skipped, in the same lane and in another', async (t) => {
    const house = openHouse(await openEngine('postgres', t));
    const app = await house.application();
    const [one, two] = [1, 2];
    assert.ok(laneOf(`item:${one}`) !== laneOf(`item:${two}`));
    const early = await begin(house, app, [one]);
    await early.appended;
    const otherLane = await begin(house, app, [two]);
    await otherLane.appended;
    const sameLane = await begin(house, app, [one]);

    const nothing = await pull(app);
    assert.deepEqual(nothing.events, []);
    await otherLane.commit();
    const first = await pull(app, after(nothing));
    assert.deepEqual(itemsOf(first), [two]);
    // It waits for the lane's head, so it cannot commit before the one that came first.
    const sameLaneDone = sameLane.commit();
    assert.deepEqual((await pull(app, after(first))).events, []);
    await early.commit();
    await sameLaneDone;
    const last = await pull(app, after(first));
    assert.deepEqual(
      last.events.map(({ id }) => id),
      [1, 2].map((seq) => eventId(laneOf(`item:${one}`), seq)),
    );
  });

  test('one that waits from before both commits has both', async (t) => {
    const house = openHouse(await openEngine('postgres', t));
    const app = await house.application();
    const start = await pull(app);
    const late = await begin(house, app, [1]);
    await late.appended;
    const waiting = pull(app, after(start, '&wait=30'));
    await untilWaiting(house, 1);
    await addEvents(house.storage, app, [2]);
    const first = await house.clock.until(waiting, LOOK_EVERY_MS);
    assert.deepEqual(itemsOf(first), [2]);
    await late.commit();
    assert.deepEqual(itemsOf(await pull(app, after(first))), [1]);
  });
});
