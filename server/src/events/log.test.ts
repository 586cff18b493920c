import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { explain, listen } from '../upkeep/testing.ts';
import { appendEvents, appendOperationalEvents, takeTimestamps } from './append.ts';
import {
  contentOf,
  type EventDraft,
  type OperationalDraft,
  renderBody,
  TEST_EVENT,
  TEST_EVENT_CONTENT,
  TEST_EVENT_TIMESTAMP,
} from './catalogue.ts';
import { eventId, LANES, laneOf, parseEventId, readLane, recentEvents } from './log.ts';

const USER = '766b2f5d-a942-492c-9ea7-2e5aa88cb672';
const ORIGIN = { applicationId: 'app_1', refreshId: null, committedAt: 5 };
const balance = { minor: 167812, exponent: 2, currency: 'EUR' };

test('the five bodies are those of the contract, byte for byte', () => {
  const body = (draft: EventDraft, timestamp: number) => renderBody({ type: draft.type, content: contentOf(draft), timestamp });
  const item = { itemId: 4568477, userUuid: USER };
  assert.equal(
    body({ type: 'item.created', ...item }, 1612782588323),
    '{"content":{"item_id":4568477,"user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1612782588323,"type":"item.created"}',
  );
  assert.equal(
    body({ type: 'item.account.created', ...item, accountId: 22908770, balance }, 1612782588323),
    '{"content":{"account_id":22908770,"balance":1678.12,"item_id":4568477,"user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1612782588323,"type":"item.account.created"}',
  );
  assert.equal(
    body({ type: 'item.account.updated', ...item, accountId: 22908770, balance, created: 15, updated: 0, deleted: 0 }, 1612782588323),
    '{"content":{"account_id":22908770,"balance":1678.12,"item_id":4568477,"nb_deleted_transactions":0,"nb_new_transactions":15,"nb_updated_transactions":0,"user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1612782588323,"type":"item.account.updated"}',
  );
  assert.equal(
    body(
      { type: 'item.account.deleted', itemId: 8390176, userUuid: '4568f180-03ea-4915-af47-f266f06b6949', accountId: 38439071 },
      1694506737325,
    ),
    '{"content":{"user_uuid":"4568f180-03ea-4915-af47-f266f06b6949","item_id":8390176,"account_id":38439071},"timestamp":1694506737325,"type":"item.account.deleted"}',
  );
  assert.equal(
    body(
      { type: 'item.refreshed', itemId: 4568565, userUuid: USER, fullRefresh: false, statusCode: 0, statusCodeInfo: 'OK' },
      1612783550980,
    ),
    '{"content":{"full_refresh":false,"item_id":4568565,"status_code":0,"status_code_info":"OK","user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1612783550980,"type":"item.refreshed"}',
  );
  assert.equal(
    renderBody({ type: TEST_EVENT, content: TEST_EVENT_CONTENT, timestamp: TEST_EVENT_TIMESTAMP }),
    '{"content":{"item_id":1234567890,"status":0,"user_uuid":"9a95b38f-f98b-417a-988b-9d0d584893e7"},"timestamp":1611681789,"type":"TEST_EVENT"}',
  );
});

test('ids of events name their place and nothing else parses', () => {
  for (const place of [
    { lane: 0, seq: 1 },
    { lane: 63, seq: 3_656_158_440_062_975 },
  ])
    assert.deepEqual(parseEventId(eventId(place.lane, place.seq)), place);
  for (const text of ['', 'evt_', 'evt_zz0000000001', 'EVT_000000000001', 'evt_00000000001']) assert.equal(parseEventId(text), null);
});

const everything = async (storage: Storage) =>
  (await Promise.all(Array.from({ length: LANES }, (_, lane) => readLane(storage, lane, 0, 10_000)))).flat();

function draftOf(type: EventDraft['type'], itemId: number): EventDraft {
  const item = { itemId, userUuid: USER };
  const account = { ...item, accountId: 1, balance };
  switch (type) {
    case 'item.created':
      return { type, ...item };
    case 'item.refreshed':
      return { type, ...item, fullRefresh: false, statusCode: 0, statusCodeInfo: 'OK' };
    case 'item.account.updated':
      return { type, ...account, created: 1, updated: 0, deleted: 0 };
    case 'item.account.created':
    case 'item.account.deleted':
      return { type, ...account };
    default:
      return type satisfies never;
  }
}

async function withUser(storage: Storage): Promise<Storage> {
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at) values ('app_1', 'a', 'sandbox', 'c', 'd', 0)`,
    );
    await tx.run(sql`insert into users (uuid, application_id, created_at) values (${USER}, 'app_1', 0)`);
  });
  return storage;
}

eachEngine('event log', (open) => {
  test('concurrent writers leave every lane gapless, in commit order, with timestamps that only rise', async (t) => {
    const storage = await withUser(await open(t));
    const write = (itemId: number, fails: boolean) =>
      storage.transaction(async (tx) => {
        const drafts: EventDraft[] = [0, 1, 2].map(() => ({ type: 'item.created', itemId, userUuid: USER }));
        const stamps = await takeTimestamps(tx, USER, 1_000, drafts.length);
        await appendEvents(
          tx,
          ORIGIN,
          drafts.map((draft, index) => ({ draft, timestamp: stamps[index]! })),
        );
        if (fails) throw new Error('taken back');
      });
    const writes = Array.from({ length: 60 }, (_, index) => write(index % 5, index % 7 === 3));
    const failed = (await Promise.allSettled(writes)).filter(({ status }) => status === 'rejected').length;
    const events = (await Promise.all(Array.from({ length: LANES }, (_, lane) => readLane(storage, lane, 0, 1_000)))).flat();
    assert.equal(events.length, (60 - failed) * 3);
    assert.equal(new Set(events.map(({ timestamp }) => timestamp)).size, events.length);
    for (let lane = 0; lane < LANES; lane += 1) {
      const inLane = events.filter((event) => event.lane === lane);
      assert.deepEqual(
        inLane.map(({ seq }) => seq),
        inLane.map((_, index) => index + 1),
      );
      assert.ok(inLane.every((event, index) => index === 0 || event.timestamp > inLane[index - 1]!.timestamp));
      assert.ok(inLane.every(({ itemId }) => laneOf(`item:${itemId}`) === lane));
    }
  });

  test("an event carries its item's running counts, which a transaction that is taken back does not raise", async (t) => {
    const storage = await withUser(await open(t));
    const write = (types: readonly (readonly [number, EventDraft['type']])[], fails = false) =>
      storage.transaction(async (tx) => {
        const stamps = await takeTimestamps(tx, USER, 1_000, types.length);
        const events = types.map(([itemId, type], index) => ({ draft: draftOf(type, itemId), timestamp: stamps[index]! }));
        await appendEvents(tx, { ...ORIGIN, traceparent: '00-1-2-01' }, events);
        if (fails) throw new Error('taken back');
      });
    await write([[1, 'item.created']]);
    await write([[1, 'item.refreshed']], true).catch(() => {});
    await write([
      [1, 'item.account.created'],
      [2, 'item.created'],
      [1, 'item.account.created'],
      [1, 'item.refreshed'],
    ]);
    await write([[1, 'item.refreshed']]);
    const events = await everything(storage);
    const ofItem = (itemId: number) => events.filter((event) => event.itemId === itemId).map(({ sequences }) => sequences);
    assert.deepEqual(ofItem(1), [
      [1, 0, 0, 0, 0],
      [1, 0, 1, 0, 0],
      [1, 0, 2, 0, 0],
      [1, 1, 2, 0, 0],
      [1, 2, 2, 0, 0],
    ]);
    assert.deepEqual(ofItem(2), [[1, 0, 0, 0, 0]]);
    assert.ok(events.every(({ traceparent, erased }) => traceparent === '00-1-2-01' && !erased));
  });

  test('more items than fit one statement are counted in one transaction', async (t) => {
    const storage = await withUser(await open(t));
    const items = Array.from({ length: 250 }, (_, index) => index);
    for (const round of [1, 2]) {
      await storage.transaction(async (tx) => {
        const stamps = await takeTimestamps(tx, USER, round * 10_000, items.length);
        await appendEvents(
          tx,
          ORIGIN,
          items.map((itemId) => ({ draft: draftOf('item.refreshed', itemId), timestamp: stamps[itemId]! })),
        );
      });
    }
    const events = await everything(storage);
    assert.deepEqual(
      [1, 2].map((count) => events.filter(({ sequences }) => sequences?.[1] === count).length),
      [250, 250],
    );
  });

  test("operational events stand in the application's lane, name their endpoint and show no secret", async (t) => {
    const storage = await withUser(await open(t));
    const draft: OperationalDraft = {
      type: 'pontage.endpoint.failing',
      endpointId: 'wh_1',
      name: 'Orders',
      url: 'https://user:secret@shop.example:8443/hooks?token=secret#secret',
      failures: 10,
      failingSince: 4,
      reason: 'Ten deliveries in a row failed.',
    };
    await storage.transaction((tx) => appendOperationalEvents(tx, ORIGIN, [draft]));
    const [event] = await readLane(storage, laneOf('application:app_1'), 0, 10);
    assert.equal(event?.aboutEndpointId, 'wh_1');
    assert.equal(event?.sequences, null);
    assert.equal(
      renderBody(event!),
      '{"content":{"endpoint_id":"wh_1","failing_since":4,"failures":10,"name":"Orders","reason":"Ten deliveries in a row failed.","url":"https://shop.example:8443/hooks"},"timestamp":5,"type":"pontage.endpoint.failing"}',
    );
  });

  test('the newest events come from all lanes, by commit time, and without a scan of the log', async (t) => {
    const storage = await withUser(await open(t));
    for (let at = 1; at <= 30; at += 1) {
      await storage.transaction(async (tx) => {
        const [timestamp] = await takeTimestamps(tx, USER, at, 1);
        const events = [{ draft: draftOf('item.created', at % 7), timestamp: timestamp! }];
        await appendEvents(tx, { ...ORIGIN, committedAt: at }, events);
      });
    }
    const { reader, statements } = listen(storage);
    for (const application of [null, 'app_1']) {
      const newest = await recentEvents(reader, application, 12);
      assert.deepEqual(
        newest.map(({ committedAt }) => committedAt),
        Array.from({ length: 12 }, (_, index) => 30 - index),
      );
    }
    assert.deepEqual(await recentEvents(reader, 'app_2', 12), []);
    if (storage.engine === 'postgres') return;
    for (const statement of statements) assert.doesNotMatch(await explain(storage, statement), /SCAN events|TEMP B-TREE/);
  });

  test("a timestamp is the application's time when that is later, else the last plus one", async (t) => {
    const storage = await withUser(await open(t));
    const take = (now: number, count: number) => storage.transaction((tx) => takeTimestamps(tx, USER, now, count));
    assert.deepEqual(await take(100, 3), [100, 101, 102]);
    assert.deepEqual(await take(50, 2), [103, 104]);
    assert.deepEqual(await take(104, 1), [105]);
    assert.deepEqual(await take(500, 1), [500]);
  });
});
