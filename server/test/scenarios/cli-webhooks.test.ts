/** Webhooks from the command line, beside a server that runs and without one. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { verify } from '@pontage/sdk';
import { folder, json, receiver, root, run, server } from '../support/cli.ts';

test('commands beside a running server take effect, and a webhook arrives signed with the old and the new secret', async () => {
  const environment = folder('beside');
  const running = await server('dev', environment);
  const target = await receiver();
  try {
    const app = await json(
      ['app', 'create', '--name', 'Mine', '--environment', 'sandbox', '--redirect-url', 'http://localhost:3000/back'],
      environment,
    );
    assert.deepEqual(Object.keys(app), ['id', 'client_id', 'client_secret']);
    const webhook = await json(
      ['webhook', 'create', '--app', app.client_id ?? '', '--url', target.url, '--name', 'Mine', '--events', 'item.created,item.refreshed'],
      environment,
    );
    assert.deepEqual(Object.keys(webhook), ['id', 'secret']);
    const id = webhook.id ?? '';

    const headers = { 'bridge-version': '2021-06-01', 'client-id': app.client_id ?? '', 'client-secret': app.client_secret ?? '' };
    assert.equal((await fetch(`${running.ready.url}/v2/banks`, { headers })).status, 200);

    await json(['webhook', 'test', id], environment);
    const first = await target.arrival(0);
    assert.equal(verify(first.body, first.headers, webhook.secret ?? '', { requireTimestamp: true }).type, 'TEST_EVENT');

    const settings = [
      '--deadline',
      '5s',
      '--retry-delays',
      '5s,1m',
      '--rate',
      '20',
      '--header',
      'X-Api-Key: of the gateway',
      'X-Tenant: 7',
    ];
    await json(['webhook', 'update', id, '--ordering', 'none', ...settings], environment);
    const shown = await run(['webhook', 'show', id], environment);
    assert.match(shown.stdout, /Deadline +5s\n +Retries after +5s, 1m\n[\s\S]*Headers +X-Api-Key, X-Tenant\n/);
    assert.doesNotMatch(shown.stdout, /of the gateway/);
    const rotated = await json(['webhook', 'rotate-secret', id], environment);
    const { event_id: eventId } = await json(['webhook', 'test', id], environment);
    const second = await target.arrival(1);
    for (const secret of [webhook.secret, rotated.secret]) verify(second.body, second.headers, secret ?? '');

    assert.equal(second.headers['webhook-id'], eventId);
    const attemptsOf = `${running.ready.url}/api/v1/attempts?webhook_id=${id}&type=TEST_EVENT`;
    let attempts: { event_id: string; outcome: string; timings: { total_ms: number } }[] = [];
    // An attempt is written some milliseconds after the receiver has answered.
    while (attempts.length < 2)
      attempts = ((await (await fetch(attemptsOf, { headers })).json()) as { attempts: typeof attempts }).attempts;
    assert.deepEqual([attempts[0]?.event_id, attempts[0]?.outcome], [eventId, 'delivered']);
    const list = await run(
      ['attempt', 'list', '--app', app.client_id ?? '', '--webhook', id, '--since', '1h', '--limit', '1'],
      environment,
    );
    assert.match(list.stdout, new RegExp(`^\\S+Z  ${eventId}  TEST_EVENT  to ${id}  test 1  200  delivered  \\d+ ms.*\n$`));
    assert.deepEqual(await json(['attempt', 'list', '--app', app.client_id ?? '', '--webhook', id], environment), attempts);
    const asked = async (path: string) => (await (await fetch(`${running.ready.url}/api/v1/${path}`, { headers })).json()) as object;
    assert.deepEqual(await json(['event', 'show', eventId ?? ''], environment), await asked(`events/${eventId}`));
    const shownByApi = await asked(`webhooks/${id}`);
    assert.deepEqual(await json(['webhook', 'show', id], environment), { client_id: app.client_id, ...shownByApi });
    assert.match((await run(['webhook', 'show', id], environment)).stdout, /Circuit +closed\n +Last success +\S+Z\n/);
    assert.match((await run(['event', 'show', eventId ?? ''], environment)).stdout, /test 1 {2}200 {2}delivered/);

    const replayed = await json(['event', 'resend', eventId ?? '', '--webhook', id], environment);
    const third = await target.arrival(2);
    assert.deepEqual([third.headers['webhook-id'], third.body], [eventId, second.body]);
    const replayIs = async () =>
      ((await (await fetch(`${running.ready.url}/api/v1/replays/${replayed.id}`, { headers })).json()) as { state: string }).state;
    while ((await replayIs()) !== 'done');
    assert.match(
      (await run(['replay', 'show', replayed.id ?? ''], environment)).stdout,
      /is done: 1 of 1 sent[\s\S]*1 delivered, 0 given up/,
    );

    const moved = await json<{ applications: { client_id: string }[]; deliveries: object }>(
      ['clock', 'advance', '1d', '--deliveries', '--app', app.client_id ?? ''],
      environment,
    );
    assert.deepEqual(
      [moved.applications.map(({ client_id }) => client_id), moved.deliveries],
      [[app.client_id], { attempts: 0, delivered: 0, waiting: 0, dead: 0 }],
    );

    const updated = await json<{ enabled: boolean; events: string[] }>(
      ['webhook', 'update', id, '--events', 'item.refreshed', '--disable'],
      environment,
    );
    assert.deepEqual([updated.enabled, updated.events], [false, ['item.refreshed']]);
    assert.equal((await run(['webhook', 'test', id], environment)).code, 1);
    const listed = await json<{ id: string }[]>(['webhook', 'list'], environment);
    assert.equal(listed.length, 2);
    assert.deepEqual(await json(['webhook', 'delete', id], environment), { id, deleted: true });

    const renewed = await json(['app', 'rotate-secret', app.client_id ?? ''], environment);
    assert.equal((await fetch(`${running.ready.url}/v2/banks`, { headers })).status, 401);
    assert.equal(
      (await fetch(`${running.ready.url}/v2/banks`, { headers: { ...headers, 'client-secret': renewed.client_secret ?? '' } })).status,
      200,
    );
  } finally {
    target.close();
    assert.equal(await running.stop(), 0);
  }
});

test('a webhook that was off goes on from where it stopped, or from now', async () => {
  const environment = folder('enable');
  await json(['app', 'create', '--name', 'Mine'], environment);
  const { id = '' } = await json(['webhook', 'create', '--url', 'https://example.com/hooks'], environment);
  await json(['webhook', 'test', id], environment);
  await json(['webhook', 'update', id, '--disable'], environment);
  const skipped = () => {
    const database = new DatabaseSync(join(root, 'enable', 'pontage.db'), { readOnly: true });
    const row = database.prepare('select skip_through from endpoints').get() as { skip_through: string | null };
    database.close();
    return row.skip_through === null ? null : (JSON.parse(row.skip_through) as number[]).reduce((sum, head) => sum + head, 0);
  };
  for (const [words, sentence] of [
    [['--from', 'now'], /--from goes with --enable/],
    [['--enable', '--from', 'then'], /where_it_stopped or now/],
  ] as const) {
    const refused = await run(['webhook', 'update', id, ...words], environment);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, sentence);
  }
  const update = (...words: string[]) => json<{ enabled: boolean; name: string }>(['webhook', 'update', id, ...words], environment);
  assert.equal((await update('--enable', '--from', 'where_it_stopped')).enabled, true);
  assert.equal(skipped(), null);
  await update('--disable');
  const { enabled, name } = await update('--enable', '--from', 'now', '--name', 'Again');
  assert.deepEqual([enabled, name, skipped()], [true, 'Again', 1]);
});

test('what was given up for a webhook is listed as the API lists it, and so is what waits', async () => {
  const environment = folder('deliveries');
  const app = await json(['app', 'create', '--name', 'Mine'], environment);
  const { id = '' } = await json(['webhook', 'create', '--url', 'https://example.com/hooks'], environment);
  const list = (...words: string[]) => run(['webhook', 'deliveries', id, ...words], environment);
  assert.equal((await list()).stdout, `Nothing was given up for webhook ${id}.\n`);
  const database = new DatabaseSync(join(root, 'deliveries', 'pontage.db'));
  const add = database.prepare(`insert into parked (endpoint_id, lane, seq, replay_id, item_id, type, state, attempts, due_at, parked_at)
                                values (?, 3, ?, ?, 7, 'item.created', ?, 2, ?, 0)`);
  for (const seq of [1, 2, 3]) add.run(id, seq, '', 'dead', null);
  // More of a replay than one page of the API goes through.
  database.exec(`insert into parked (endpoint_id, lane, seq, replay_id, state, attempts, parked_at)
                 with recursive seqs (seq) as (select 4 union all select seq + 1 from seqs where seq < 12000)
                 select '${id}', 3, seq, 'rpl_1', 'dead', 2, 0 from seqs`);
  add.run(id, 12_001, '', 'dead', null);
  add.run(id, 12_002, '', 'retry', 60_000);
  database.close();
  const dead = await list('--limit', '3');
  assert.match(
    dead.stdout,
    /^EVENT +TYPE +ITEM +TRIED +SINCE +AGAIN AT\nevt_030000000001 +item\.created +7 +2 +1970-01-01T00:00:00\.000Z +-\n/,
  );
  assert.match(dead.stdout, new RegExp(`There are more: .*\\n.*npx pontage replay start --webhook ${id} --dead\\n$`));
  assert.equal((await list('--state', 'retry')).stdout.split('\n').length, 3);

  const running = await server('dev', environment);
  try {
    const headers = { 'client-id': app.client_id ?? '', 'client-secret': app.client_secret ?? '' };
    const page = async (query: string) =>
      (await (await fetch(`${running.ready.url}/api/v1/webhooks/${id}/deliveries${query}`, { headers })).json()) as {
        deliveries: object[];
        next: string | null;
      };
    const first = await page('');
    const second = await page(`?after=${first.next}`);
    assert.deepEqual([first.deliveries.length, second.deliveries.length, second.next], [3, 1, null]);
    assert.deepEqual(await json(['webhook', 'deliveries', id], environment), [...first.deliveries, ...second.deliveries]);
    assert.doesNotMatch((await list('--limit', '4')).stdout, /There are more/);
  } finally {
    assert.equal(await running.stop(), 0);
  }
});

test('a webhook that fails says why its test waits, and begins anew when it is enabled', async () => {
  const environment = folder('failing');
  await json(['app', 'create', '--name', 'Mine'], environment);
  const { id = '' } = await json(['webhook', 'create', '--url', 'https://example.com/hooks'], environment);
  const database = new DatabaseSync(join(root, 'failing', 'pontage.db'));
  database
    .prepare(`insert into endpoint_health (endpoint_id, revision, circuit, failures, failing_since, probes, probe_hours, observed_ms, next_probe_at)
              values (?, 1, 'open', 10, 1, 0, 0, 0, ?)`)
    .run(id, Date.UTC(2100, 0, 1));
  const circuit = () => (database.prepare('select circuit from endpoint_health').get() as { circuit: string }).circuit;
  const waits = await run(['webhook', 'test', id], environment);
  assert.match(waits.stdout, /^TEST_EVENT evt_\w+ waits: .* \(the next one at 2100-01-01T00:00:00\.000Z\)\.$/m);
  assert.match(waits.stdout, new RegExp(`npx pontage webhook update ${id} --enable`));
  await json(['webhook', 'update', id, '--name', 'Other'], environment);
  assert.equal(circuit(), 'open');
  await json(['webhook', 'update', id, '--enable'], environment);
  assert.equal(circuit(), 'half_open');
  database.close();
  assert.match((await run(['webhook', 'test', id], environment)).stdout, /is on its way/);
});

test('at most ten webhooks per application', async () => {
  const environment = folder('ten');
  await json(['app', 'create', '--name', 'Mine'], environment);
  for (let count = 0; count < 10; count += 1) await json(['webhook', 'create', '--url', `https://example.com/${count}`], environment);
  const ended = await run(['webhook', 'create', '--url', 'https://example.com/eleventh'], environment);
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /at most 10/);
});
