import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { explaining } from '../../../test/support/explain.ts';
import { readCondition } from '../../delivery/attempts/condition.ts';
import { type AttemptFilter, listAttempts, SCAN_MAX } from '../../delivery/attempts/list.ts';
import { attemptsOfEvent, parkedOfEvent } from '../../delivery/attempts/read.ts';
import { eventId, laneOf } from '../../events/log.ts';
import { sql } from '../../storage/sql.ts';
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
      ['&item_id=4', (row) => row.itemId === 4],
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

  story('a filter without an index reads so far and no further: a page may be empty and go on', async (house) => {
    const app = await house.application();
    const endpointId = await addEndpoint(house.storage, app);
    const rows = Array.from({ length: SCAN_MAX + 50 }, (_, index) => ({
      endpointId,
      lane: 1,
      seq: 1 + index,
      at: START + index,
      itemId: index === 3 ? 9 : 1,
    }));
    await addAttempts(house.storage, rows);
    const { attempts, pages } = await follow(app, '&item_id=9', 10);
    assert.deepEqual([attempts.map(({ event_id }) => event_id), pages], [[eventId(1, 4)], 2]);
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
    for (const query of ['outcome=ok', 'status=99', 'item_id=a', 'since=yesterday', 'webhok_id=1'])
      await refused(await app.get(`/api/v1/attempts?${query}`), 400, 'bad_request');
  });
});

eachEngine('the attempt log', (open) => {
  test('no combination of filters reads a whole table or index', async (t) => {
    const storage: Storage = await open(t);
    const app = await openHouse(storage).application();
    const endpointIds = [await addEndpoint(storage, app), await addEndpoint(storage, app)];
    await addAttempts(storage, seed(endpointIds));
    const reader = explaining(storage);
    const choices: Partial<AttemptFilter>[][] = [
      [{}, { itemId: 1 }],
      [{}, { type: 'item.created' }],
      [{}, { outcome: 'delivered' }, { outcome: 'failed' }],
      [{}, { status: 503 }],
      [{}, { since: START }],
      [{}, { until: START + 10_000 }],
    ];
    const filters = choices.reduce<AttemptFilter[]>(
      (all, some) => all.flatMap((filter) => some.map((one) => ({ ...filter, ...one }))),
      [{}],
    );
    assert.equal(filters.length, 96);
    for (const filter of filters) {
      for (const ids of [endpointIds, endpointIds.slice(0, 1)]) {
        const first = await listAttempts(reader, { endpointIds: ids, filter, after: null, limit: 2 });
        if (first.next) await listAttempts(reader, { endpointIds: ids, filter, after: first.next, limit: 2 });
      }
    }
    await attemptsOfEvent(reader, { segment: 1, lane: 1, seq: 1 });
    await parkedOfEvent(reader, { lane: 1, seq: 1 });
    await storage.transaction((tx) =>
      tx.run(sql`insert into endpoint_positions (endpoint_id, lane, settled, since) values (${endpointIds[0]!}, 3, 1, ${START})`),
    );
    await readCondition(reader, { id: endpointIds[0]!, applicationId: app.id }, START);
    assert.ok(reader.statements > 200);
    reader.assertNoFullScan(['attempts', 'parked', 'endpoint_positions', 'events']);
  });
});
