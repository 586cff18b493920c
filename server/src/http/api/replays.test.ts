import assert from 'node:assert/strict';
import { REPLAYS_OPEN_MAX } from '../../delivery/replay/replays.ts';
import { READS_FOR_START_MAX } from '../../delivery/replay/selection.ts';
import { eventId, laneOf } from '../../events/log.ts';
import { sql } from '../../storage/sql.ts';
import { addEndpoint, addEvents, refused, START, stories } from './harness.ts';

type Shown = {
  id: string;
  kind: string;
  state: string;
  total: number | null;
  at_least: number;
  rate_per_s: number;
  progress: object;
  finished_at: string | null;
};

stories('replays over the management API', (story) => {
  story('one is counted first, made, listed, paused, resumed and cancelled', async (house) => {
    const app = await house.application();
    const webhook = await addEndpoint(house.storage, app);
    await addEvents(house.storage, app, [1, 2, 3]);
    await addEvents(house.storage, app, [1], START + 60_000);
    const path = `/api/v1/webhooks/${webhook}/replays`;
    const count = async (body: object) =>
      ((await (await app.send('POST', path, { kind: 'range', dry_run: true, ...body })).json()) as Shown).total;
    assert.equal(await count({}), 4);
    assert.equal(await count({ since: new Date(START + 60_000).toISOString() }), 1);
    assert.equal(await count({ item_ids: [1], types: ['item.created'] }), 2);
    assert.deepEqual(await app.read('/api/v1/replays'), { replays: [], next: null });

    const made = await app.send('POST', path, { kind: 'range', outcome: 'failed' });
    assert.equal(made.status, 201);
    const replay = (await made.json()) as Shown;
    assert.deepEqual(replay.progress, { sent: 0, delivered: 0, failed: 0, retrying: 0 });
    assert.deepEqual([replay.state, replay.total, replay.rate_per_s], ['running', 4, 50]);
    const move = async (what: string) => app.send('POST', `/api/v1/replays/${replay.id}/${what}`);
    const stateAfter = async (what: string) => ((await (await move(what)).json()) as Shown).state;
    await refused(await move('resume'), 409, 'conflict');
    assert.equal(await stateAfter('pause'), 'paused');
    assert.equal(await stateAfter('resume'), 'running');
    assert.equal(await stateAfter('cancel'), 'cancelled');
    await refused(await move('pause'), 409, 'conflict');

    house.clock.advance(1_000);
    const empty = (await (await app.send('POST', path, { kind: 'dead' })).json()) as Shown;
    assert.deepEqual([empty.state, empty.total], ['done', 0]);
    const first = await app.read<{ replays: Shown[]; next: string }>('/api/v1/replays?limit=1');
    const second = await app.read<{ replays: Shown[]; next: null }>(`/api/v1/replays?limit=1&after=${first.next}`);
    assert.deepEqual(
      [first, second].map(({ replays }) => replays[0]?.id),
      [empty.id, replay.id],
    );
    assert.equal(second.next, null);
    for (const body of [
      {},
      { kind: 'all' },
      { kind: 'dead', since: '2023-07-26' },
      { kind: 'range', rate_per_s: 0 },
      { kind: 'range', types: ['x'] },
      { kind: 'range', since: '2023-07-27', until: '2023-07-26' },
      { kind: 'range', since: '2023-07-26', until: '2023-07-26', dry_run: true },
    ])
      await refused(await app.send('POST', path, body), 400, 'bad_request');
    await refused(await app.get('/api/v1/replays?after=x'), 400, 'invalid_cursor');
  });

  story('a range too long to be counted while the caller waits starts at once, and says how far it was counted', async (house) => {
    const app = await house.application();
    const webhook = await addEndpoint(house.storage, app);
    await addEvents(house.storage, app, [1]);
    const counted = READS_FOR_START_MAX * 200;
    await house.storage.transaction(async (tx) => {
      await tx.run(
        sql`insert into events (segment, lane, seq, application_id, type, user_uuid, item_id, content, timestamp, committed_at)
            with recursive numbers (n) as (select 2 union all select n + 1 from numbers where n <= ${counted})
            select segment, lane, n, application_id, type, user_uuid, item_id, content, timestamp, committed_at from events, numbers`,
      );
      await tx.run(sql`update lane_heads set head = ${counted + 1} where lane = ${laneOf('item:1')}`);
    });
    const path = `/api/v1/webhooks/${webhook}/replays`;
    const made = await app.send('POST', path, { kind: 'range' });
    assert.equal(made.status, 201);
    const replay = (await made.json()) as Shown;
    assert.deepEqual([replay.state, replay.total, replay.at_least], ['running', null, counted]);
    const dry = await (await app.send('POST', path, { kind: 'range', dry_run: true })).json();
    assert.deepEqual(dry, { dry_run: true, total: counted + 1, at_least: counted + 1 });
  });

  story('a start that is made again under its Idempotency-Key is the same replay', async (house) => {
    const app = await house.application();
    const webhook = await addEndpoint(house.storage, app);
    await addEvents(house.storage, app, [1, 2]);
    const path = `/api/v1/webhooks/${webhook}/replays`;
    const start = (body: object, key: string, by = app, to = path) => by.send('POST', to, body, { 'Idempotency-Key': key });
    const idOf = async (response: Response) => {
      assert.equal(response.status, 201);
      return ((await response.json()) as Shown).id;
    };
    const range = { kind: 'range', since: '2023-07-26T09:10:16.058Z', rate_per_s: 5 };
    const [first, together] = await Promise.all([start(range, 'morning'), start(range, 'morning')]);
    const id = await idOf(first);
    assert.equal(await idOf(together), id);
    await app.send('POST', `/api/v1/replays/${id}/cancel`);
    const later = await start(range, 'morning');
    assert.deepEqual(((await later.json()) as Shown).state, 'cancelled', 'as it is by now');
    assert.equal((await app.read<{ replays: Shown[] }>('/api/v1/replays')).replays.length, 1);
    await refused(await start({ ...range, rate_per_s: 6 }, 'morning'), 422, 'unprocessable');
    await refused(await start({ kind: 'dead' }, 'morning'), 422, 'unprocessable');
    assert.notEqual(await idOf(await start(range, 'evening')), id);
    for (const key of ['', 'with a space', 'k'.repeat(256)]) await refused(await start(range, key), 400, 'bad_request');

    const event = `/api/v1/events/${eventId(laneOf('item:1'), 1)}/resend`;
    const one = await idOf(await start({ webhook_id: webhook }, 'one', app, event));
    assert.equal(await idOf(await start({ webhook_id: webhook }, 'one', app, event)), one);
    const other = await house.application();
    const theirs = `/api/v1/webhooks/${await addEndpoint(house.storage, other)}/replays`;
    assert.notEqual(await idOf(await start(range, 'morning', other, theirs)), id);
  });

  story('an application has so many replays that run or are paused, also where they are made at the same moment', async (house) => {
    const app = await house.application();
    const webhook = await addEndpoint(house.storage, app);
    await addEvents(house.storage, app, [1]);
    const start = () => app.send('POST', `/api/v1/webhooks/${webhook}/replays`, { kind: 'range' });
    const made = await Promise.all(Array.from({ length: REPLAYS_OPEN_MAX - 2 }, start));
    const ids = await Promise.all(made.map(async (response) => ((await response.json()) as Shown).id));
    for (const id of ids.slice(0, 3)) assert.equal((await app.send('POST', `/api/v1/replays/${id}/pause`)).status, 200);
    const last = await Promise.all([start(), start(), start(), start()]);
    assert.deepEqual(last.map(({ status }) => status).sort(), [201, 201, 409, 409]);
    assert.match(await refused(await start(), 409, 'conflict'), /or are paused/);
    assert.equal((await app.send('POST', `/api/v1/replays/${ids[0]}/cancel`)).status, 200);
    assert.equal((await start()).status, 201);
    const other = await house.application();
    const theirs = `/api/v1/webhooks/${await addEndpoint(house.storage, other)}/replays`;
    assert.equal((await other.send('POST', theirs, { kind: 'range' })).status, 201);
  });

  story('one event is sent again, but no erased one', async (house) => {
    const app = await house.application();
    const webhook = await addEndpoint(house.storage, app);
    await addEvents(house.storage, app, [1, 2]);
    const resend = (item: number) =>
      app.send('POST', `/api/v1/events/${eventId(laneOf(`item:${item}`), 1)}/resend`, { webhook_id: webhook });
    assert.deepEqual(((await (await resend(1)).json()) as Shown).kind, 'one');
    await house.storage.transaction((tx) => tx.run(sql`update events set erased = 1 where item_id = 2`));
    await refused(await resend(2), 422, 'unprocessable');
  });

  story("another application's replays, webhooks and events do not exist", async (house) => {
    const app = await house.application();
    const other = await house.application();
    const [webhook, ofOther] = [await addEndpoint(house.storage, app), await addEndpoint(house.storage, other)];
    await addEvents(house.storage, app, [1]);
    const { id } = (await (await app.send('POST', `/api/v1/webhooks/${webhook}/replays`, { kind: 'range' })).json()) as Shown;
    await refused(await other.get(`/api/v1/replays/${id}`), 404, 'not_found');
    for (const move of ['pause', 'resume', 'cancel'])
      await refused(await other.send('POST', `/api/v1/replays/${id}/${move}`), 404, 'not_found');
    await refused(await other.send('POST', `/api/v1/webhooks/${webhook}/replays`, { kind: 'range' }), 404, 'not_found');
    const event = `/api/v1/events/${eventId(laneOf('item:1'), 1)}/resend`;
    await refused(await other.send('POST', event, { webhook_id: ofOther }), 404, 'not_found');
    await refused(await app.send('POST', event, { webhook_id: ofOther }), 404, 'not_found');
    assert.equal(
      ((await (await other.send('POST', `/api/v1/webhooks/${ofOther}/replays`, { kind: 'range', dry_run: true })).json()) as Shown).total,
      0,
    );
  });
});
