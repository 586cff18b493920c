import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { explaining, measuring } from '../../../test/support/explain.ts';
import { fillLog, RARE_ITEM, RARE_STATUS, RARE_TYPE } from '../../../test/support/filled-log.ts';
import { COUNTED_MAX, countBehind } from '../../delivery/attempts/backlog.ts';
import { readCondition } from '../../delivery/attempts/condition.ts';
import { READS_MAX, SPAN } from '../../delivery/attempts/item.ts';
import { type AttemptFilter, ENDPOINTS_LISTED_MAX, KINDS_PER_STATEMENT, listAttempts } from '../../delivery/attempts/list.ts';
import type { AttemptKey } from '../../delivery/attempts/order.ts';
import { attemptsOfEvent, parkedOfEvent } from '../../delivery/attempts/read.ts';
import { eventId, laneOf, parseEventId } from '../../events/log.ts';
import { render, type Sql, sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { type Attempted, addAttempts, addEndpoint, addEvents, openHouse, refused, START, stories, type Tenant } from './harness.ts';

type Listed = { attempts: { event_id: string; webhook_id: string; at: string; source: string; n: number }[]; next: string | null };

/** Follows the list to its end; every page but the last must go on. */
async function follow(app: Tenant, query: string, limit: number): Promise<{ attempts: Listed['attempts']; pages: number }> {
  const attempts: Listed['attempts'] = [];
  let next: string | null = '';
  let pages = 0;
  while (next !== null) {
    const page: Listed = await app.read<Listed>(`/api/v1/attempts?limit=${limit}${query}${next === '' ? '' : `&after=${next}`}`);
    assert.ok(page.attempts.length <= limit);
    attempts.push(...page.attempts);
    next = page.next;
    pages += 1;
  }
  return { attempts, pages };
}

/** Of two endpoints, often several in one millisecond. */
function seed(endpoints: readonly string[]): Attempted[] {
  return Array.from({ length: 120 }, (_, index) => ({
    endpointId: endpoints[index % endpoints.length]!,
    lane: index % 5,
    seq: 1 + Math.floor(index / 10),
    source: index % 3 === 0 ? 'retry' : 'live',
    n: 1 + (index % 2),
    at: START + Math.floor(index / 7) * 1_000,
    delivered: index % 4 !== 0,
    status: index % 4 === 0 ? 503 : 200,
    type: index % 2 === 0 ? 'item.created' : 'item.refreshed',
    itemId: index % 6,
  }));
}

const keyOf = (row: { event_id: string; webhook_id: string; source: string; n: number }) =>
  [row.event_id, row.webhook_id, row.source, row.n].join(' ');

stories('the list of attempts', (story) => {
  story('every filter shows what it names, newest first, each once, however short the pages are', async (house) => {
    const app = await house.application();
    const endpoints = [await addEndpoint(house.storage, app), await addEndpoint(house.storage, app)];
    const rows = seed(endpoints);
    await addAttempts(house.storage, rows);
    const other = await house.application();
    await addAttempts(house.storage, seed([await addEndpoint(house.storage, other)]));
    const filters: [string, (row: Attempted) => boolean][] = [
      ['', () => true],
      [`&webhook_id=${endpoints[0]}`, (row) => row.endpointId === endpoints[0]],
      ['&outcome=failed', (row) => !row.delivered],
      ['&outcome=delivered', (row) => row.delivered],
      ['&status=503', (row) => row.status === 503],
      ['&type=item.created&outcome=failed', (row) => row.type === 'item.created' && !row.delivered],
      [
        `&since=${new Date(START + 3_000).toISOString()}&until=${new Date(START + 9_000).toISOString()}`,
        (row) => row.at >= START + 3_000 && row.at < START + 9_000,
      ],
    ];
    for (const [query, wanted] of filters) {
      for (const limit of [3, 500]) {
        const { attempts } = await follow(app, query, limit);
        const expected = rows
          .filter(wanted)
          .map((row) => keyOf({ event_id: eventId(row.lane, row.seq), webhook_id: row.endpointId, source: row.source, n: row.n }));
        assert.deepEqual(attempts.map(keyOf).sort(), expected.sort(), `${query} by ${limit}`);
        const times = attempts.map(({ at }) => at);
        assert.deepEqual(times, [...times].sort().reverse());
      }
    }
  });

  story("an item's attempts come by its events, however many places of its lane lie between them", async (house) => {
    const app = await house.application();
    const endpointIds = [await addEndpoint(house.storage, app), await addEndpoint(house.storage, app)];
    const [item, lane] = [5, laneOf('item:5')];
    await addEvents(house.storage, app, [item]);
    // As if others had taken all places between.
    await house.storage.transaction((tx) => tx.run(sql`update lane_heads set head = ${3 * SPAN} where lane = ${lane}`));
    await addEvents(house.storage, app, [item, item]);
    const [first, second, third] = [1, 3 * SPAN + 1, 3 * SPAN + 2];
    const attempt = (endpoint: number, seq: number, n: number, at: number) => ({
      ...{ endpointId: endpointIds[endpoint]!, lane, seq, n, at: START + at, itemId: item },
    });
    // The oldest event was tried last.
    await addAttempts(house.storage, [
      ...[attempt(0, first, 1, 0), attempt(1, first, 1, 1), attempt(0, first, 2, 900)],
      ...[attempt(0, second, 1, 500), attempt(1, second, 1, 500), attempt(0, third, 1, 600), attempt(1, third, 1, 601)],
    ]);
    for (const limit of [1, 2, 3, 500]) {
      const { attempts } = await follow(app, `&item_id=${item}`, limit);
      assert.deepEqual(
        attempts.map((one) => [parseEventId(one.event_id)!.seq, Date.parse(one.at) - START]),
        [
          [third, 601],
          [third, 600],
          [second, 500],
          [second, 500],
          [first, 900],
          [first, 1],
          [first, 0],
        ],
        `by ${limit}`,
      );
      assert.equal(new Set(attempts.map(keyOf)).size, 7);
    }
    const { attempts } = await follow(app, `&item_id=${item}&webhook_id=${endpointIds[1]}`, 2);
    assert.equal(attempts.length, 3);
    assert.deepEqual(await (await house.application()).read(`/api/v1/attempts?item_id=${item}`), { attempts: [], next: null });
  });

  story('a kind of event that there is not is refused; a webhook that was deleted long ago is found by its id', async (house) => {
    const app = await house.application();
    assert.match(await refused(await app.get('/api/v1/attempts?type=nonsense'), 400, 'bad_request'), /^type: .*item\.created.*TEST_EVENT/);
    const oldest = await addEndpoint(house.storage, app);
    const kept = await addEndpoint(house.storage, app);
    await addAttempts(house.storage, [
      { endpointId: oldest, lane: 1, seq: 1, at: START, type: 'TEST_EVENT' },
      { endpointId: kept, lane: 1, seq: 2, at: START },
    ]);
    for (let others = 0; others < ENDPOINTS_LISTED_MAX; others += 1) await addEndpoint(house.storage, app);
    await house.storage.transaction(async (tx) => {
      await tx.run(sql`update endpoints set deleted_at = ${START + 1} where application_id = ${app.id}`);
      await tx.run(sql`update endpoints set deleted_at = ${START + 2} where id = ${kept}`);
      await tx.run(sql`update endpoints set deleted_at = ${START} where id = ${oldest}`);
    });
    const found = async (query: string) => (await app.read<Listed>(`/api/v1/attempts?${query}`)).attempts.map((one) => one.webhook_id);
    assert.deepEqual(await found(`webhook_id=${oldest}&type=TEST_EVENT`), [oldest]);
    assert.deepEqual(await found(''), [kept], 'all: the last that were deleted');
    const other = await house.application();
    await refused(await other.get(`/api/v1/attempts?webhook_id=${oldest}`), 404, 'not_found');
  });

  story('an item whose events lie too far apart for one page gets a short one that goes on', async (house) => {
    const app = await house.application();
    const endpointId = await addEndpoint(house.storage, app);
    const lane = laneOf('item:5');
    await addEvents(house.storage, app, [5]);
    await house.storage.transaction((tx) => tx.run(sql`update lane_heads set head = ${SPAN * (READS_MAX + 5)} where lane = ${lane}`));
    await addAttempts(house.storage, [{ endpointId, lane, seq: 1, at: START, itemId: 5 }]);
    const { attempts, pages } = await follow(app, '&item_id=5', 10);
    assert.deepEqual([attempts.map(({ event_id }) => event_id), pages], [[eventId(lane, 1)], 2]);
  });

  story("an attempt has its timings and its sentence; another application's webhooks and made-up cursors are refused", async (house) => {
    const app = await house.application();
    const endpointId = await addEndpoint(house.storage, app);
    await addEvents(house.storage, app, [5]);
    const lane = laneOf('item:5');
    const attempt = { endpointId, lane, seq: 1, at: START, delivered: false, status: 302, type: 'item.created', itemId: 5 };
    await addAttempts(house.storage, [{ ...attempt, failure: 'redirect', message: 'Redirects are not followed.', snippet: '<html>' }]);
    await house.storage.transaction((tx) =>
      tx.run(
        sql`insert into parked (endpoint_id, lane, seq, item_id, type, state, attempts, due_at, parked_at)
            values (${endpointId}, ${lane}, 1, 5, 'item.created', 'retry', 1, ${START + 5_000}, ${START})`,
      ),
    );
    const event = await app.read<{ attempts: object[]; waiting: object[] }>(`/api/v1/events/${eventId(lane, 1)}`);
    assert.deepEqual(event.attempts, [
      {
        event_id: eventId(lane, 1),
        type: 'item.created',
        item_id: 5,
        webhook_id: endpointId,
        source: 'live',
        replay_id: null,
        n: 1,
        at: '2023-07-26T09:10:16.058Z',
        outcome: 'failed',
        status: 302,
        timings: { dns_ms: null, connect_ms: null, tls_ms: null, first_byte_ms: null, total_ms: 12.5 },
        failure: 'redirect',
        message: 'Redirects are not followed.',
        answer: '<html>',
      },
    ]);
    assert.deepEqual(event.waiting, [
      {
        webhook_id: endpointId,
        replay_id: null,
        state: 'retry',
        attempts: 1,
        next_attempt_at: '2023-07-26T09:10:21.058Z',
        since: '2023-07-26T09:10:16.058Z',
      },
    ]);
    const other = await house.application();
    await refused(await other.get(`/api/v1/attempts?webhook_id=${endpointId}`), 404, 'not_found');
    assert.deepEqual(await other.read('/api/v1/attempts'), { attempts: [], next: null });
    for (const cursor of ['x', 'W10', Buffer.from('[1,2,3,"wh","live","",-1]').toString('base64url'), 'null', 'bnVsbA'])
      await refused(await app.get(`/api/v1/attempts?after=${cursor}`), 400, 'invalid_cursor');
    const backwards = ['since=2023-07-26&until=2023-07-25', 'since=2023-07-26&until=2023-07-26'];
    for (const query of ['outcome=ok', 'status=99', 'item_id=a', 'since=yesterday', 'webhok_id=1', ...backwards])
      await refused(await app.get(`/api/v1/attempts?${query}`), 400, 'bad_request');
  });
});

/** Pages of the filled log below are of 10; of some 20 kinds of attempts each one reads as many. */
const ROWS_MAX = 400;

/** A storage that notes in which turn of the event loop each statement of a kind was asked. */
function watchTurns(t: TestContext, storage: Storage, which: (query: Sql) => boolean): { noting: Storage; turns: number[] } {
  let turn = 0;
  let immediate = setImmediate(function next() {
    turn += 1;
    immediate = setImmediate(next);
  });
  t.after(() => clearImmediate(immediate));
  const turns: number[] = [];
  const note = (query: Sql) => {
    if (which(query)) turns.push(turn);
    return query;
  };
  const noting: Storage = Object.create(storage, {
    all: { value: (query: Sql) => storage.all(note(query)) },
    first: { value: (query: Sql) => storage.first(note(query)) },
  });
  return { noting, turns };
}

eachEngine('the attempt log', (open) => {
  test('in a long log no combination of filters reads or sorts more than its page, and each fills it', async (t) => {
    const storage: Storage = await open(t);
    const app = await openHouse(storage).application();
    const endpointIds = [await addEndpoint(storage, app), await addEndpoint(storage, app)];
    const log = { applicationId: app.id, endpointIds, events: 8_000, segments: 2, startsAt: START };
    await fillLog(storage, log);
    const choices: Partial<AttemptFilter>[][] = [
      [{}, { itemId: RARE_ITEM }],
      [{}, { type: RARE_TYPE }],
      [{}, { outcome: 'delivered' }, { outcome: 'failed' }],
      [{}, { status: RARE_STATUS }],
      [{}, { since: START + 1, until: START + 60_000 }],
    ];
    const filters = choices.reduce<AttemptFilter[]>(
      (all, some) => all.flatMap((filter) => some.map((one) => ({ ...filter, ...one }))),
      [{}],
    );
    assert.equal(filters.length, 48);
    const reader = measuring(storage);
    const page = (filter: AttemptFilter, after: AttemptKey | null) =>
      listAttempts(reader, { applicationId: app.id, endpointIds, filter, after, limit: 10 });
    for (const filter of filters) {
      const { attempts, next } = await page(filter, null);
      assert.ok(attempts.length === 10 || next === null, `a short page that is not the last: ${JSON.stringify(filter)}`);
      if (next) assert.equal((await page(filter, next)).attempts.length > 0, true, JSON.stringify(filter));
    }
    // The first event, in the first segment, has failed and then come through for both webhooks.
    const counts = [{ type: RARE_TYPE }, { status: RARE_STATUS }, { itemId: RARE_ITEM, outcome: 'failed' as const }];
    for (const [index, filter] of counts.entries()) assert.equal((await page(filter, null)).attempts.length, [4, 2, 4][index]);
    assert.ok(reader.statements > 50, String(reader.statements));
    reader.assertBounded(['attempts', 'events'], ROWS_MAX);

    await storage.transaction((tx) => tx.run(sql`drop index attempts_by_kind`));
    const slower = measuring(storage);
    await listAttempts(slower, { applicationId: app.id, endpointIds, filter: {}, after: null, limit: 10 });
    assert.throws(() => slower.assertBounded(['attempts', 'events'], ROWS_MAX), 'without its index');
  });

  test('one event, and the condition of an endpoint, read no whole table', async (t) => {
    const storage: Storage = await open(t);
    const app = await openHouse(storage).application();
    const endpointId = await addEndpoint(storage, app);
    await addAttempts(storage, seed([endpointId]));
    await storage.transaction((tx) =>
      tx.run(sql`insert into endpoint_positions (endpoint_id, lane, settled, since) values (${endpointId}, 3, 1, ${START})`),
    );
    const reader = explaining(storage);
    assert.ok((await attemptsOfEvent(reader, { segment: 1, lane: 1, seq: 1 })).length > 0);
    await parkedOfEvent(reader, { lane: 1, seq: 1 });
    const condition = await readCondition(reader, { id: endpointId, applicationId: app.id }, START);
    assert.equal(condition.lastSuccessAt, START + 17_000);
    reader.assertNoFullScan(['attempts', 'parked', 'endpoint_positions', 'events']);
  });

  test('however far an endpoint is behind, one count of it reads no more than it says, and none shares its turn', async (t) => {
    const storage: Storage = await open(t);
    const house = openHouse(storage);
    const app = await house.application();
    const webhooks = [await addEndpoint(storage, app), await addEndpoint(storage, app)];
    const ofEachLane = 200;
    await storage.transaction(async (tx) => {
      await tx.run(
        sql`insert into events (segment, lane, seq, application_id, type, content, timestamp, committed_at)
            with recursive lanes (lane) as (select 0 union all select lane + 1 from lanes where lane < 63),
              seqs (seq) as (select 1 union all select seq + 1 from seqs where seq < ${ofEachLane})
            select 1, lane, seq, ${app.id}, 'item.created', '{}', 1, 1 from lanes, seqs`,
      );
      for (const id of webhooks)
        for (let lane = 0; lane < 64; lane += 1)
          await tx.run(sql`insert into endpoint_positions (endpoint_id, lane, settled, since) values (${id}, ${lane}, 0, ${START})`);
    });
    if (storage.engine === 'postgres') await storage.transaction((tx) => tx.run(sql`analyze events`));
    const reader = measuring(storage);
    assert.equal((await countBehind(reader, { id: webhooks[0]!, applicationId: app.id })).behind, COUNTED_MAX);
    reader.assertBounded(['events'], COUNTED_MAX + 64);

    const { noting, turns } = watchTurns(t, storage, (query) => render(query, '?').includes('count(*)'));
    const response = await openHouse(noting).fetch('/api/v1/webhooks', { headers: app.headers });
    const { webhooks: shown } = (await response.json()) as { webhooks: { backlog: { events_behind: number } }[] };
    assert.deepEqual(
      shown.map(({ backlog }) => backlog.events_behind),
      [COUNTED_MAX, COUNTED_MAX],
    );
    assert.ok(turns.length >= 8, String(turns.length));
    assert.equal(new Set(turns).size, turns.length, 'two counts in one turn of the event loop');
  });

  test('a receiver that answers with ever other statuses has its attempts listed by parts, none of them in the turn of another', async (t) => {
    const storage: Storage = await open(t);
    const app = await openHouse(storage).application();
    const endpointIds = [await addEndpoint(storage, app), await addEndpoint(storage, app)];
    const rows = Array.from({ length: 1_200 }, (_, index) => ({
      endpointId: endpointIds[index % 2]!,
      lane: index % 64,
      seq: 1 + index,
      at: START + ((index * 7_919) % 1_200),
      status: 200 + (index % 300),
      delivered: index % 300 < 100,
    }));
    await addAttempts(storage, rows);
    if (storage.engine === 'postgres') await storage.transaction((tx) => tx.run(sql`analyze attempts`));
    const reader = measuring(storage);
    const request = { applicationId: app.id, endpointIds, filter: {}, limit: 10 };
    const first = await listAttempts(reader, { ...request, after: null });
    const second = await listAttempts(reader, { ...request, after: first.next });
    const newest = rows.toSorted((a, b) => b.at - a.at).map(({ seq }) => seq);
    assert.deepEqual(
      [...first.attempts, ...second.attempts].map(({ seq }) => seq),
      newest.slice(0, 20),
    );
    reader.assertBounded(['attempts'], 4 * KINDS_PER_STATEMENT + 50);

    const given = (query: Sql) =>
      Math.max(0, ...query.values.map((value) => (/^{/.test(String(value)) ? Object.keys(JSON.parse(String(value))).length : 0)));
    const { noting, turns } = watchTurns(t, storage, (query) => {
      assert.ok(given(query) <= KINDS_PER_STATEMENT, `${given(query)} kinds in one statement`);
      return render(query, '?').includes('from attempts');
    });
    const { attempts } = await listAttempts(noting, { ...request, after: null, limit: 100 });
    assert.equal(attempts.length, 100);
    assert.ok(turns.length >= 2 + 3 + 3 + 2, String(turns.length));
    assert.ok(new Set(turns).size >= turns.length - 3, `${turns.length} statements in ${new Set(turns).size} turns`);
  });
});
