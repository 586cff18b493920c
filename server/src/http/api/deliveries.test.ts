import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { measuring } from '../../../test/support/explain.ts';
import { listDeliveries, READS_MAX, ROWS_PER_READ } from '../../delivery/attempts/deliveries.ts';
import { eventId } from '../../events/log.ts';
import { type Sql, sql } from '../../storage/sql.ts';
import type { Reader, Storage } from '../../storage/storage.ts';
import { addEndpoint, refused, START, stories, type Tenant } from './harness.ts';

type Listed = { deliveries: { event_id: string }[]; next: string | null };
type Row = { lane: number; seq: number; state: string; replayId?: string; itemId?: number | null; type?: string; dueAt?: number };

async function park(storage: Storage, endpointId: string, rows: readonly Row[]): Promise<void> {
  const columns = ['endpoint_id', 'lane', 'seq', 'replay_id', 'item_id', 'type', 'state', 'attempts', 'due_at', 'parked_at'];
  await storage.transaction((tx) =>
    tx.insertMany(
      'parked',
      columns,
      rows.map(({ lane, seq, state, replayId = '', itemId = 5, type = 'item.created', dueAt = null }) => [
        ...[endpointId, lane, seq, replayId, itemId, type, state, 3, dueAt, START],
      ]),
    ),
  );
}

async function follow(app: Tenant, path: string): Promise<{ ids: string[]; pages: number }> {
  const ids: string[] = [];
  let next: string | null = '';
  let pages = 0;
  while (next !== null) {
    const page: Listed = await app.read<Listed>(next === '' ? path : `${path}&after=${next}`);
    ids.push(...page.deliveries.map(({ event_id }) => event_id));
    next = page.next;
    pages += 1;
  }
  return { ids, pages };
}

stories('the deliveries of a webhook', (story) => {
  story('are listed by their state, each once, however short the pages are; those of replays are not among them', async (house) => {
    const app = await house.application();
    const id = await addEndpoint(house.storage, app);
    const dead = [0, 3, 3, 3, 63, 63].map((lane, index) => ({ lane, seq: 1 + index, state: 'dead' }));
    await park(house.storage, id, dead);
    await park(house.storage, id, [
      { lane: 3, seq: 2, state: 'dead', replayId: 'rpl_1' },
      { lane: 3, seq: 9, state: 'dead', replayId: 'rpl_1' },
      { lane: 63, seq: 9, state: 'dead', replayId: 'rpl_1' },
      { lane: 3, seq: 7, state: 'retry', dueAt: START + 5_000 },
      { lane: 3, seq: 8, state: 'waiting', itemId: null, type: 'pontage.delivery.dead' },
    ]);
    await park(house.storage, await addEndpoint(house.storage, app), [{ lane: 3, seq: 1, state: 'dead' }]);
    const path = `/api/v1/webhooks/${id}/deliveries`;
    const expected = dead.map(({ lane, seq }) => eventId(lane, seq));
    for (const limit of [1, 2, 3, 6, 500]) assert.deepEqual((await follow(app, `${path}?limit=${limit}`)).ids, expected, `by ${limit}`);
    assert.deepEqual((await follow(app, `${path}?state=dead`)).ids, expected);
    assert.deepEqual(await app.read(`${path}?state=retry`), {
      deliveries: [
        {
          event_id: eventId(3, 7),
          type: 'item.created',
          item_id: 5,
          state: 'retry',
          attempts: 3,
          next_attempt_at: '2023-07-26T09:10:21.058Z',
          since: '2023-07-26T09:10:16.058Z',
        },
      ],
      next: null,
    });
    assert.deepEqual(await app.read(`${path}?state=waiting`), {
      deliveries: [
        {
          event_id: eventId(3, 8),
          type: 'pontage.delivery.dead',
          item_id: null,
          state: 'waiting',
          attempts: 3,
          next_attempt_at: null,
          since: '2023-07-26T09:10:16.058Z',
        },
      ],
      next: null,
    });
  });

  story("another application's webhook, a deleted one, and questions that cannot be answered are refused", async (house) => {
    const app = await house.application();
    const id = await addEndpoint(house.storage, app);
    await park(house.storage, id, [{ lane: 3, seq: 1, state: 'dead' }]);
    const path = `/api/v1/webhooks/${id}/deliveries`;
    await refused(await (await house.application()).get(path), 404, 'not_found');
    assert.match(await refused(await app.get(`${path}?state=lost`), 400, 'bad_request'), /^state: must be retry, waiting, dead/);
    for (const query of ['limit=0', 'limit=501', 'sate=dead']) await refused(await app.get(`${path}?${query}`), 400, 'bad_request');
    for (const cursor of ['x', '64_1', '3_-1', '3_1.5', '03_1', '3_9999999999999999', ''].map((text) =>
      Buffer.from(text).toString('base64url'),
    ))
      await refused(await app.get(`${path}?after=${cursor}`), 400, 'invalid_cursor');
    assert.equal((await app.read<Listed>(path)).deliveries.length, 1);
    assert.equal((await app.send('DELETE', `/api/v1/webhooks/${id}`)).status, 204);
    await refused(await app.get(path), 404, 'not_found');
  });
});

eachEngine('a page of deliveries', (open) => {
  /** `count` of them, in two lanes, from seq `from` on. */
  const fill = (storage: Storage, endpointId: string, rows: { state: string; replayId: string; from: number; count: number }) =>
    storage.transaction((tx) =>
      tx.run(
        sql`insert into parked (endpoint_id, lane, seq, replay_id, item_id, type, state, attempts, parked_at)
            with recursive seqs (seq) as (select cast(${rows.from} as bigint) union all select seq + 1 from seqs where seq < ${rows.from + rows.count - 1})
            select ${endpointId}, seq % 2, seq, ${rows.replayId}, 5, 'item.created', ${rows.state}, 3, 1 from seqs`,
      ),
    );

  test('reads no more than it shows, wherever in a long list of any state it begins', async (t) => {
    const storage = await open(t);
    for (const endpointId of ['wh_1', 'wh_2']) {
      await fill(storage, endpointId, { state: 'waiting', replayId: '', from: 1, count: 3_000 });
      await fill(storage, endpointId, { state: 'dead', replayId: '', from: 3_001, count: 3_000 });
      await fill(storage, endpointId, { state: 'retry', replayId: '', from: 6_001, count: 30 });
    }
    if (storage.engine === 'postgres') await storage.transaction((tx) => tx.run(sql`analyze parked`));
    const reader = measuring(storage);
    const asked: Sql[] = [];
    const noting: Reader = Object.create(reader, {
      all: {
        value: (query: Sql) => {
          asked.push(query);
          return reader.all(query);
        },
      },
    });
    const page = (state: 'dead' | 'retry' | 'waiting', after: { lane: number; seq: number } | null) =>
      listDeliveries(noting, { endpointId: 'wh_1', state, after, limit: 10 });
    const begins = { waiting: 0, dead: 3_000, retry: 6_000 };
    for (const [state, before] of Object.entries(begins) as [keyof typeof begins, number][]) {
      const first = await page(state, null);
      const second = await page(state, first.next);
      const seqs = [...first.deliveries, ...second.deliveries].map(({ seq }) => seq - before);
      assert.deepEqual(seqs, state === 'retry' ? [...even(15), 1, 3, 5, 7, 9] : even(20), state);
      await page(state, { lane: 1, seq: before + 21 });
    }
    assert.equal(reader.statements, 9);
    reader.assertBounded(['parked'], 11);

    // It does not count what it reads: by its key it would read all states from the place on.
    for (const query of storage.engine === 'sqlite' ? asked : []) {
      const [step] = await storage.all<{ detail: string }>(sql`explain query plan ${query}`);
      assert.match(step!.detail, /parked_by_state \(endpoint_id=\? AND state=\? AND \(lane,seq\)>\(\?,\?\)\)/);
    }
  });

  test('ends short, with a next, where very many of replays lie between', async (t) => {
    const storage = await open(t);
    const between = ROWS_PER_READ * READS_MAX;
    await fill(storage, 'wh_1', { state: 'dead', replayId: 'rpl_1', from: 1, count: between * 2 });
    await fill(storage, 'wh_1', { state: 'dead', replayId: '', from: between * 2 - 1, count: 4 });
    if (storage.engine === 'postgres') await storage.transaction((tx) => tx.run(sql`analyze parked`));
    const reader = measuring(storage);
    const seqs: number[][] = [];
    for (let after: { lane: number; seq: number } | null | undefined; after !== null; ) {
      const before: number = reader.statements;
      const page = await listDeliveries(reader, { endpointId: 'wh_1', state: 'dead', after: after ?? null, limit: 10 });
      seqs.push(page.deliveries.map(({ seq }) => seq));
      assert.ok(reader.statements - before <= READS_MAX);
      after = page.next;
    }
    assert.deepEqual(
      seqs.flat(),
      [2, 4, 1, 3].map((seq) => between * 2 - 2 + seq),
    );
    assert.ok(seqs.length === 3, JSON.stringify(seqs));
    reader.assertBounded(['parked'], ROWS_PER_READ);
  });
});

const even = (count: number) => Array.from({ length: count }, (_, index) => 2 * (index + 1));
