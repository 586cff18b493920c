import assert from 'node:assert/strict';
import { makeAuthority } from '../../../test/support/certificate-authority.ts';
import { laneOf, parseEventId, readEvents } from '../../events/log.ts';
import { sql } from '../../storage/sql.ts';
import { addAttempts, addEvents, refused, START, stories, type Tenant } from './harness.ts';

type Webhook = {
  id: string;
  enabled: boolean;
  disabled_reason: string | null;
  events: string[];
  settings: Record<string, unknown>;
  health: Record<string, unknown>;
  backlog: Record<string, unknown>;
  secret?: string;
};
const URL = 'https://example.com/hooks';

async function create(app: Tenant, body: object = { url: URL }): Promise<Webhook> {
  const response = await app.send('POST', '/api/v1/webhooks', body);
  const text = await response.text();
  assert.equal(response.status, 201, text);
  return JSON.parse(text) as Webhook;
}

stories('webhooks over the management API', (story) => {
  story('a name that leads to an address inside is refused when it is given, new or changed', async (house) => {
    const app = await house.application();
    const { id } = await create(app);
    const inside = { url: 'https://inside.example.com/hooks' };
    await refused(await app.send('POST', '/api/v1/webhooks', inside), 400, 'bad_request');
    await refused(await app.send('PATCH', `/api/v1/webhooks/${id}`, inside), 400, 'bad_request');
    assert.equal((await app.read<{ url: string }>(`/api/v1/webhooks/${id}`)).url, URL);
  });

  story('one is made with its secret shown once, changed, listed and deleted', async (house) => {
    const app = await house.application();
    const made = await create(app, { url: URL, name: 'Main', events: ['item.refreshed', 'pontage.endpoint.failing'], rate_per_s: 5 });
    assert.match(made.secret ?? '', /^whsec_/);
    assert.deepEqual(made.health, {
      circuit: 'closed',
      failures_in_a_row: 0,
      failing_since: null,
      next_probe_at: null,
      paused_until: null,
      last_success_at: null,
      last_failure_at: null,
    });
    assert.deepEqual(made.backlog, { events_behind: 0, behind_since: null, retry: 0, waiting: 0, dead: 0 });
    const secretHeader = { name: 'X-Api-Key', value: 'of the gateway' };
    const response = await app.send('PATCH', `/api/v1/webhooks/${made.id}`, {
      rate_per_s: null,
      deadline_ms: 5_000,
      custom_headers: [secretHeader],
    });
    const text = await response.text();
    assert.doesNotMatch(text, /of the gateway|whsec_/);
    const changed = JSON.parse(text) as Webhook;
    assert.deepEqual(changed.events, ['item.refreshed', 'pontage.endpoint.failing']);
    assert.deepEqual(
      [changed.settings.rate_per_s, changed.settings.deadline_ms, changed.settings.custom_header_names],
      [null, 5_000, ['X-Api-Key']],
    );
    const { webhooks } = await app.read<{ webhooks: Webhook[] }>('/api/v1/webhooks');
    assert.deepEqual(webhooks, [changed]);
    const cleared = (await (await app.send('PATCH', `/api/v1/webhooks/${made.id}`, { custom_headers: null })).json()) as Webhook;
    assert.deepEqual(cleared.settings.custom_header_names, []);
    assert.equal((await app.send('DELETE', `/api/v1/webhooks/${made.id}`)).status, 204);
    await refused(await app.get(`/api/v1/webhooks/${made.id}`), 404, 'not_found');
  });

  story('its health knows the newest success, and forgets a pause that is over', async (house) => {
    const app = await house.application();
    const { id } = await create(app);
    const healthOf = async () => (await app.read<Webhook>(`/api/v1/webhooks/${id}`)).health;
    const attempt = (seq: number, delivered: boolean) => ({ endpointId: id, lane: 1, seq, at: START + seq, delivered });
    await addAttempts(house.storage, [attempt(1, true), attempt(2, true), attempt(3, false)]);
    assert.equal((await healthOf()).last_success_at, new Date(START + 2).toISOString());

    await house.storage.transaction((tx) =>
      tx.run(
        sql`insert into endpoint_health (endpoint_id, revision, circuit, last_success_at, paused_until, paused_since)
            values (${id}, 1, 'closed', ${START}, ${house.clock.now() + 60_000}, ${house.clock.now()})`,
      ),
    );
    const paused = await healthOf();
    assert.equal(paused.paused_until, new Date(house.clock.now() + 60_000).toISOString());
    assert.equal(paused.last_success_at, new Date(START + 2).toISOString(), 'what its row has is older');
    house.clock.advance(60_000);
    assert.equal((await healthOf()).paused_until, null);

    await addAttempts(
      house.storage,
      Array.from({ length: 300 }, (_, at) => attempt(10 + at, false)),
    );
    assert.equal((await healthOf()).last_success_at, new Date(START + 2).toISOString(), 'however many failures came after it');
    await house.storage.transaction((tx) => tx.run(sql`delete from attempts where delivered = 1`));
    assert.equal((await healthOf()).last_success_at, new Date(START).toISOString(), 'kept by its row when retention has taken it');
  });

  story('what cannot be is refused with the name of its field', async (house) => {
    const app = await house.application();
    const { id } = await create(app);
    const cases: [object, RegExp][] = [
      [{ url: 'ftp://example.com' }, /^url: /],
      [{ url: 'http://169.254.169.254/' }, /^url: /],
      [{ events: ['item.create'] }, /^events: /],
      [{ deadline_ms: 31_000 }, /^deadline_ms: /],
      [{ concurrency_max: 0 }, /^concurrency_max: /],
      [{ retry_delays_ms: [] }, /^retry_delays_ms: /],
      [{ custom_headers: [{ name: 'Host', value: 'x' }] }, /^custom_headers: /],
      [{ ordering: 'some' }, /^ordering: /],
      [{ rate: 5 }, /rate/],
    ];
    for (const [body, message] of cases) {
      assert.match(await refused(await app.send('PATCH', `/api/v1/webhooks/${id}`, body), 400, 'bad_request'), message);
      await refused(await app.send('POST', '/api/v1/webhooks', { url: URL, ...body }), 400, 'bad_request');
    }
    assert.match(await refused(await app.send('POST', '/api/v1/webhooks', {}), 400, 'bad_request'), /^url: /);
    for (let count = 1; count < 10; count += 1) await create(app);
    await refused(await app.send('POST', '/api/v1/webhooks', { url: URL }), 409, 'conflict');
  });

  story('a client certificate keeps its URL at https, also when only the URL is changed', async (house) => {
    const app = await house.application();
    const { pem: own, key } = makeAuthority('client');
    const pem = { certificate: own, key };
    const { id } = await create(app, { url: URL, client_certificate: pem });
    const plain = { url: 'http://example.com/hooks' };
    const message = await refused(await app.send('PATCH', `/api/v1/webhooks/${id}`, plain), 400, 'bad_request');
    assert.match(message, /^url: .*client certificate/);
    assert.equal((await app.read<{ url: string }>(`/api/v1/webhooks/${id}`)).url, URL);
    assert.equal((await app.send('PATCH', `/api/v1/webhooks/${id}`, { ...plain, client_certificate: null })).status, 200);
  });

  story('it is turned off, and on again from where it stopped or from now', async (house) => {
    const app = await house.application();
    const { id } = await create(app);
    const off = (await (await app.send('POST', `/api/v1/webhooks/${id}/disable`)).json()) as Webhook;
    assert.deepEqual([off.enabled, off.disabled_reason], [false, 'owner']);
    await refused(await app.send('POST', `/api/v1/webhooks/${id}/test`), 422, 'unprocessable');
    await refused(await app.send('POST', `/api/v1/webhooks/${id}/enable`), 400, 'bad_request');
    await refused(await app.send('POST', `/api/v1/webhooks/${id}/enable`, { from: 'then' }), 400, 'bad_request');
    await addEvents(house.storage, app, [1, 2, 3]);
    const skipThrough = async () =>
      (await house.storage.first<{ skip_through: string | null }>(sql`select skip_through from endpoints where id = ${id}`))?.skip_through;
    const stopped = (await (await app.send('POST', `/api/v1/webhooks/${id}/enable`, { from: 'where_it_stopped' })).json()) as Webhook;
    assert.deepEqual([stopped.enabled, stopped.disabled_reason, await skipThrough()], [true, null, null]);
    assert.equal((await app.send('POST', `/api/v1/webhooks/${id}/enable`, { from: 'now' })).status, 200);
    assert.equal(
      (JSON.parse((await skipThrough()) ?? '[]') as number[]).reduce((sum, head) => sum + head, 0),
      3,
    );
  });

  story('a test event is logged for it alone; a secret is rotated with its overlap', async (house) => {
    const app = await house.application();
    const { id, secret } = await create(app);
    const tested = await app.send('POST', `/api/v1/webhooks/${id}/test`);
    assert.equal(tested.status, 202);
    const place = parseEventId(((await tested.json()) as { event_id: string }).event_id)!;
    const [event] = await readEvents(house.storage, place.lane, [place.seq]);
    assert.equal(event?.endpointId, id);
    const rotated = (await (await app.send('POST', `/api/v1/webhooks/${id}/rotate-secret`, { overlap_s: 60 })).json()) as Record<
      string,
      string
    >;
    assert.notEqual(rotated.secret, secret);
    assert.equal(rotated.previous_secret_expires_at, new Date(START + 60_000).toISOString());
    await refused(await app.send('POST', `/api/v1/webhooks/${id}/rotate-secret`, { overlap_s: 8 * 86_400 }), 400, 'bad_request');
  });

  story('what it has still to get is counted', async (house) => {
    const app = await house.application();
    const { id } = await create(app);
    await addEvents(house.storage, app, [1, 1, 1, 2]);
    await house.storage.transaction(async (tx) => {
      for (let lane = 0; lane < 64; lane += 1)
        await tx.run(sql`insert into endpoint_positions (endpoint_id, lane, settled, since) values (${id}, ${lane}, 1, ${START - lane})`);
      await tx.insertMany(
        'parked',
        ['endpoint_id', 'lane', 'seq', 'replay_id', 'state', 'attempts', 'parked_at'],
        [
          [id, 0, 1, '', 'dead', 11, START],
          [id, 0, 2, '', 'waiting', 0, START],
          [id, 0, 1, 'rpl_1', 'dead', 11, START],
        ],
      );
    });
    const { backlog } = await app.read<Webhook>(`/api/v1/webhooks/${id}`);
    assert.deepEqual(backlog, { events_behind: 2, behind_since: new Date(START - 63).toISOString(), retry: 0, waiting: 1, dead: 1 });
    await house.storage.transaction((tx) => tx.run(sql`update endpoint_positions set ahead = '[[3,3]]' where lane = ${laneOf('item:1')}`));
    assert.equal(
      (await app.read<Webhook>(`/api/v1/webhooks/${id}`)).backlog.events_behind,
      1,
      'without what came through past one that hangs',
    );
  });

  story("another application's webhook does not exist, on every route", async (house) => {
    const app = await house.application();
    const other = await house.application();
    const { id } = await create(app);
    await refused(await other.get(`/api/v1/webhooks/${id}`), 404, 'not_found');
    await refused(await other.send('PATCH', `/api/v1/webhooks/${id}`, { name: 'mine' }), 404, 'not_found');
    await refused(await other.send('DELETE', `/api/v1/webhooks/${id}`), 404, 'not_found');
    for (const action of ['rotate-secret', 'test', 'enable', 'disable'])
      await refused(
        await other.send('POST', `/api/v1/webhooks/${id}/${action}`, action === 'enable' ? { from: 'now' } : {}),
        404,
        'not_found',
      );
    assert.deepEqual(await other.read('/api/v1/webhooks'), { webhooks: [] });
    assert.equal((await app.read<Webhook>(`/api/v1/webhooks/${id}`)).enabled, true);
  });
});
