/** Servers as they are started: the first start, the inbox, production, keys, backups, the demonstration. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { verify } from '@pontage/sdk';
import { folder, json, KEY, MAIN, receiver, root, run, server } from '../support/cli.ts';

test('the secret client credentials are shown at the first start only, and the inbox follows the port', async () => {
  const environment = folder('twice');
  const first = await server('dev', environment);
  assert.ok(first.ready.client_secret);
  assert.equal(await first.stop('SIGINT'), 0);
  const second = await server('dev', environment);
  try {
    assert.equal(second.ready.client_secret, undefined);
    assert.equal(second.ready.client_id, first.ready.client_id);
    const [inbox] = await json<{ id: string; url: string }[]>(['webhook', 'list'], environment);
    assert.equal(inbox?.url, `${second.ready.url}/dashboard/inbox`);
    assert.equal((await fetch(second.ready.connect_url ?? '')).status, 200);
  } finally {
    await second.stop();
  }
});

test('the dashboard shows what arrives in the inbox, live, and again after a restart', async () => {
  const environment = folder('inbox');
  const running = await server('dev', environment);
  const url = running.ready.url ?? '';
  const [inbox] = await json<{ id: string }[]>(['webhook', 'list'], environment);
  const stream = (await fetch(`${url}/dashboard/inbox/stream`)).body?.getReader();
  const { event_id: eventId } = await json(['webhook', 'test', inbox?.id ?? ''], environment);
  let seen = '';
  const decoder = new TextDecoder();
  while (stream && !seen.includes('TEST_EVENT')) seen += decoder.decode((await stream.read()).value);
  const message = JSON.parse(/^data: (.*)$/m.exec(seen)?.[1] ?? '') as { id: string; verified: boolean };
  assert.deepEqual([message.id, message.verified], [eventId, true]);
  assert.match(await (await fetch(`${url}/dashboard`)).text(), new RegExp(`data-event-id="${eventId}"`));
  assert.equal(await running.stop(), 0);

  const again = await server('dev', environment);
  assert.match(await (await fetch(`${again.ready.url}/dashboard`)).text(), new RegExp(`data-event-id="${eventId}"`));
  await again.stop();
});

test('the dashboard refuses other hosts, other sites and forms that are not its own', async () => {
  const running = await server('dev', folder('guarded'));
  const { hostname, port } = new URL(running.ready.url ?? '');
  try {
    const asked = async (path: string, options: { method?: string; headers?: Record<string, string>; body?: string }) => {
      const { request } = await import('node:http');
      const sent = request({ hostname, port, path, method: options.method ?? 'GET', headers: options.headers ?? {} });
      sent.end(options.body);
      const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
      const text = Buffer.concat(await response.toArray()).toString();
      return { status: response.statusCode, headers: response.headers, text };
    };
    assert.equal((await asked('/dashboard', { headers: { host: `rebound.example:${port}` } })).status, 403);
    const page = await asked('/dashboard', { headers: { host: `localhost:${port}` } });
    assert.equal(page.status, 200);
    assert.match(String(page.headers['content-security-policy']), /default-src 'none'/);
    const cookie = String(page.headers['set-cookie']?.[0]).split(';')[0] ?? '';
    assert.match(String(page.headers['set-cookie']?.[0]), /HttpOnly; SameSite=Strict/);
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    const form = { 'content-type': 'application/x-www-form-urlencoded', cookie };
    const post = (body: string, headers: Record<string, string>) => asked('/dashboard/connect', { method: 'POST', body, headers });
    assert.equal((await post('csrf=wrong', form)).status, 403);
    assert.equal((await post(`csrf=${csrf}`, { 'content-type': form['content-type'] })).status, 403);
    assert.equal((await post(`csrf=${csrf}`, { ...form, 'sec-fetch-site': 'cross-site' })).status, 403);
    const moved = await post(`csrf=${csrf}`, form);
    assert.equal(moved.status, 303);
    assert.match(String(moved.headers.location), /^\/connect\/session\/[0-9a-f-]{36}$/);
    const clock = await asked('/dashboard/clock', { method: 'POST', body: `csrf=${csrf}&days=1`, headers: form });
    assert.equal(clock.status, 303);
    assert.equal((await asked('/dashboard/inbox', { method: 'POST', body: '{}' })).status, 400);
  } finally {
    await running.stop();
  }
});

test('production has no dashboard and no inbox, is ready when it says so, and refuses a second server', async () => {
  const environment = {
    ...folder('production'),
    PONTAGE_SECRET_KEY: KEY,
    PONTAGE_PUBLIC_URL: 'https://banks.example.com',
    PONTAGE_HOST: '127.0.0.1',
    PONTAGE_LOG_LEVEL: 'error',
  };
  const running = await server('serve', environment);
  try {
    const url = running.ready.url ?? '';
    assert.equal(running.ready.public_url, 'https://banks.example.com');
    for (const path of ['/', '/dashboard', '/dashboard/inbox'])
      assert.equal((await fetch(`${url}${path}`, { redirect: 'manual' })).status, 404, path);
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    let ready = await fetch(`${url}/readyz`);
    while (ready.status !== 200) ready = await fetch(`${url}/readyz`);
    const second = await run(['serve'], environment);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /Another server is running/);
    await json(['app', 'create', '--name', 'Mine', '--environment', 'production'], environment);
    const refused = await run(['webhook', 'create', '--url', 'http://127.0.0.1:9/x'], environment);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /not allowed/);
    assert.equal((await run(['doctor'], environment)).code, 0);
  } finally {
    assert.equal(await running.stop(), 0);
  }
});

test('keys are rotated while the server runs, and what was sealed before still opens', async () => {
  const environment = folder('keys');
  const running = await server('dev', environment);
  const target = await receiver();
  try {
    const webhook = await json(['webhook', 'create', '--url', target.url], environment);
    const before = readFileSync(join(environment.PONTAGE_DATA_DIR ?? '', 'secret.key'), 'utf8')
      .trim()
      .split('\n');
    const { rewrapped } = await json<{ rewrapped: number }>(['key', 'rotate'], environment);
    assert.equal(rewrapped, 2);
    const now = readFileSync(join(environment.PONTAGE_DATA_DIR ?? '', 'secret.key'), 'utf8')
      .trim()
      .split('\n');
    assert.deepEqual(now.slice(1), before);
    await json(['webhook', 'create', '--url', 'http://127.0.0.1:9/other'], environment);
    await json(['webhook', 'test', webhook.id ?? ''], environment);
    const arrival = await target.arrival(0);
    verify(arrival.body, arrival.headers, webhook.secret ?? '');
    const doctor = await json<{ ok: boolean }>(['doctor'], environment);
    assert.equal(doctor.ok, true);
  } finally {
    target.close();
    await running.stop();
  }
});

test('a backup is one file, made while the server runs, with nothing secret in clear; restore waits for the server to stop', async () => {
  const environment = folder('backup');
  const file = join(root, 'backup.db');
  const running = await server('dev', environment);
  const webhook = await json(['webhook', 'create', '--url', 'https://example.com/hooks', '--name', 'Kept'], environment);
  await json(['backup', file], environment);
  assert.deepEqual(
    readdirSync(root).filter((name) => name.startsWith('backup.db')),
    ['backup.db'],
  );
  const bytes = readFileSync(file, 'latin1');
  assert.ok(bytes.includes('https://example.com/hooks'));
  for (const secret of [webhook.secret, running.ready.client_secret]) assert.ok(secret && !bytes.includes(secret));
  assert.equal((await run(['backup', file], environment)).code, 1);

  await json(['webhook', 'delete', webhook.id ?? ''], environment);
  const early = await run(['restore', file], environment);
  assert.equal(early.code, 1);
  assert.match(early.stderr, /stop it first/);
  await running.stop();
  await json(['restore', file], environment);
  const listed = await json<{ name: string }[]>(['webhook', 'list'], environment);
  assert.ok(listed.some(({ name }) => name === 'Kept'));
  assert.ok(existsSync(join(environment.PONTAGE_DATA_DIR ?? '', 'pontage.db')));
  const foreign = await run(['restore', MAIN], environment);
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /no backup of Pontage/);
});

test('the demonstration shows all five kinds, verified, in under 20 s, and leaves nothing behind', async () => {
  const temporary = mkdtempSync(join(root, 'tmp-'));
  const startedAt = performance.now();
  const ended = await run(['demo', '--json'], { TMPDIR: temporary });
  assert.equal(ended.code, 0, ended.stderr);
  assert.ok(performance.now() - startedAt < 20_000);
  const lines = ended.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const last = lines.at(-1);
  assert.equal(last?.ok, true);
  assert.deepEqual([...((last?.kinds ?? []) as string[])].sort(), [
    'item.account.created',
    'item.account.deleted',
    'item.account.updated',
    'item.created',
    'item.refreshed',
  ]);
  const events = lines.filter((line) => 'event' in line);
  assert.ok(events.length > 0 && events.every((line) => line.verified === true));
  assert.deepEqual(readdirSync(temporary), []);
});
