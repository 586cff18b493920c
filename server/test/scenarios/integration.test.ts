/**
 * A program written for the API, as such programs are: it knows the wire and nothing of us. It makes a user, sends them
 * through Connect, follows pages, polls a refresh, and on each webhook asks for what changed.
 */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { createApplication } from '../../src/access/applications.ts';
import { DAY_MS } from '../../src/base/clock.ts';
import { readConfig } from '../../src/config.ts';
import { createEndpoint } from '../../src/endpoints/endpoints.ts';
import { EVENT_TYPES } from '../../src/events/catalogue.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { sql } from '../../src/storage/sql.ts';
import { ENGINES, type Engine, freshTarget } from '../support/engines.ts';

const DEMO_BANK = 574;
/** Nothing here takes a second; a machine under load gets its time, and a failure its end. */
const PATIENCE_MS = 60_000;

for (const engine of ENGINES) {
  suite(`a program written for the API, on ${engine}`, () => {
    test('works unchanged', { timeout: 3 * PATIENCE_MS }, async (t) => {
      const house = await openHouse(engine, t);
      const { client, receiver } = house;

      const user = await client.signUp({ external_user_id: 'customer-4711' });
      const { itemId, callback } = await walkThroughConnect(client, user, 'success');
      assert.deepEqual(Object.fromEntries(callback.searchParams), {
        item_id: String(itemId),
        user_uuid: user.uuid,
        success: 'true',
        source: 'connect',
        context: 'order-42',
      });
      await receiver.until((event) => event.type === 'item.refreshed' && event.content.full_refresh === true);
      assert.deepEqual(receiver.typesOf(itemId).slice(0, 2), ['item.created', 'item.account.created']);

      await everyPageLeadsToTheNext(client, user, itemId);
      await aRefreshIsPolledAndItsChangesFetched(house, user, itemId);
      await errorsAreFlat(client, user);
      await anotherUserSeesNothing(client, itemId);
      await anExpiredTokenIsRefused(house, user);
      await aDeletedItemIsGone(client, user.externalUserId, itemId);
      assert.deepEqual(receiver.problems, []);
    });
  });
}

async function everyPageLeadsToTheNext(client: Client, user: User, itemId: number): Promise<void> {
  const items = await client.list<{ id: number; status: number; bank_id: number }>('/v2/items', user);
  assert.deepEqual(
    items.map(({ id, status, bank_id }) => [id, status, bank_id]),
    [[itemId, 0, DEMO_BANK]],
  );
  const accounts = await client.list<{ id: number; item_id: number }>(`/v2/accounts?item_id=${itemId}&limit=5`, user);
  assert.ok(accounts.length > 5, 'several pages');
  assert.ok(accounts.every(({ item_id }) => item_id === itemId));
  const rows = await client.list<{ id: number; date: string; account_id: number; is_deleted: boolean }>('/v2/transactions?limit=500', user);
  assert.ok(rows.length > 500, 'several pages');
  assert.equal(new Set(rows.map(({ id }) => id)).size, rows.length, 'no row twice');
  assert.ok(rows.every(({ is_deleted }) => !is_deleted));
  assert.deepEqual(
    rows.map(({ date }) => date),
    rows.map(({ date }) => date).toSorted((a, b) => (a < b ? 1 : a > b ? -1 : 0)),
  );
}

type Row = { id: number; updated_at: string; is_deleted: boolean };

async function aRefreshIsPolledAndItsChangesFetched(house: House, user: User, itemId: number): Promise<void> {
  const { client, receiver } = house;
  const before = receiver.events.length;
  const known = new Set((await client.list<Row>('/v2/transactions?limit=500', user)).map(({ id }) => id));
  await house.passDays(3);
  const accepted = await client.send('POST', `/v2/items/${itemId}/refresh`, { user });
  assert.equal(accepted.status, 202);
  assert.equal(accepted.headers.get('content-length'), '0');
  const statusUri = accepted.headers.get('location')!;
  assert.equal(statusUri, `/v2/items/${itemId}/refresh/status`);
  const status = await client.poll<{ status: string }>(statusUri, user, ({ status }) => status === 'finished');
  assert.deepEqual(Object.keys(status), ['id', 'status', 'refreshed_at', 'mfa', 'refreshed_accounts_count', 'total_accounts_count']);

  await receiver.until((event, index) => index >= before && event.type === 'item.refreshed');
  const updated = receiver.events.slice(before).filter(({ type }) => type === 'item.account.updated');
  assert.ok(updated.length > 0, 'three days bring something');
  for (const { content, timestamp } of updated) {
    const since = new Date(timestamp).toISOString();
    const changes = await client.list<Row>(`/v2/accounts/${content.account_id}/transactions/updated?since=${since}&limit=500`, user);
    assert.ok(changes.every(({ updated_at }) => updated_at === since));
    const deleted = changes.filter(({ is_deleted }) => is_deleted).length;
    const created = changes.filter(({ id }) => !known.has(id)).length;
    assert.deepEqual(
      { created, updated: changes.length - created - deleted, deleted },
      { created: content.nb_new_transactions, updated: content.nb_updated_transactions, deleted: content.nb_deleted_transactions },
    );
  }
  const first = Math.min(...updated.map(({ timestamp }) => timestamp));
  const changes = await client.list<Row>(`/v2/transactions/updated?since=${new Date(first).toISOString()}&limit=500`, user);
  const counted = updated.reduce(
    (sum, { content }) => sum + content.nb_new_transactions + content.nb_updated_transactions + content.nb_deleted_transactions,
    0,
  );
  assert.equal(changes.length, counted);
}

async function errorsAreFlat(client: Client, user: User): Promise<void> {
  const cases: [method: string, path: string, options: SendOptions, status: number, type: string][] = [
    ['GET', '/v2/items/1', { user }, 404, 'not_found'],
    ['GET', '/v2/items', {}, 401, 'invalid_access_token'],
    ['GET', '/v2/banks', { headers: { 'Client-Secret': 'wrong' } }, 401, 'invalid_client_credentials'],
    ['GET', '/v2/banks', { headers: { 'Bridge-Version': '1999-01-01' } }, 400, 'invalid_version_header'],
    ['POST', '/v2/users', { body: { external_user_id: user.externalUserId } }, 409, 'conflict'],
  ];
  for (const [method, path, options, status, type] of cases) {
    const response = await client.send(method, path, options);
    const error = (await response.json()) as { type: string; message: string };
    assert.equal(response.status, status, path);
    assert.deepEqual(Object.keys(error), ['type', 'message', 'documentation_url']);
    assert.equal(error.type, type);
    assert.equal(typeof error.message, 'string');
  }
}

/** A program of the old days: the header's old name, and users with email and password. */
async function anotherUserSeesNothing(client: Client, itemId: number): Promise<void> {
  const { 'Bridge-Version': version, ...rest } = client.headers;
  const old = createClient(client.base, { ...rest, 'Bankin-Version': version! });
  const stranger = await old.signUp({ email: 'someone@example.org', password: 'a password' });
  const items = await old.list('/v2/items', stranger);
  assert.deepEqual(items, []);
  const response = await old.send('GET', `/v2/items/${itemId}`, { user: stranger });
  assert.equal(response.status, 404);
}

async function anExpiredTokenIsRefused({ client, server }: House, user: User): Promise<void> {
  // Two hours later; the test cannot wait for them.
  await server.services.storage.transaction((tx) => tx.run(sql`update access_tokens set expires_at = 1 where user_uuid = ${user.uuid}`));
  const response = await client.send('GET', '/v2/items', { user });
  assert.equal(response.status, 401);
  assert.equal(((await response.json()) as { type: string }).type, 'invalid_access_token');
}

async function aDeletedItemIsGone(client: Client, externalUserId: string, itemId: number): Promise<void> {
  const user = await client.authenticate({ external_user_id: externalUserId });
  const [account] = await client.list<{ id: number }>('/v2/accounts', user);
  const [row] = await client.list<{ id: number }>('/v2/transactions?limit=500', user);
  const deleted = await client.send('DELETE', `/v2/items/${itemId}`, { user });
  assert.equal(deleted.status, 204);
  assert.equal(await deleted.text(), '');
  for (const path of [
    `/v2/items/${itemId}`,
    `/v2/items/${itemId}/refresh/status`,
    `/v2/accounts/${account!.id}`,
    `/v2/transactions/${row!.id}`,
  ])
    assert.equal((await client.send('GET', path, { user })).status, 404, path);
  assert.deepEqual(await client.list('/v2/transactions', user), []);
}

// ---------------------------------------------------------------- the program

type User = { uuid: string; token: string; externalUserId: string };
type SendOptions = { user?: User; body?: object; headers?: Record<string, string> };
type Client = ReturnType<typeof createClient>;

function createClient(base: string, headers: Record<string, string>) {
  async function send(method: string, path: string, options: SendOptions = {}): Promise<Response> {
    return fetch(new URL(path, base), {
      method,
      headers: {
        ...headers,
        ...(options.user ? { Authorization: `Bearer ${options.user.token}` } : {}),
        ...(options.body ? { 'Content-Type': 'application/json' } : {}),
        ...options.headers,
      },
      ...(options.body ? { body: JSON.stringify(options.body) } : {}),
    });
  }
  async function read<T>(method: string, path: string, status: number, options: SendOptions = {}): Promise<T> {
    const response = await send(method, path, options);
    const text = await response.text();
    assert.equal(response.status, status, `${method} ${path}: ${text}`);
    return JSON.parse(text) as T;
  }
  async function authenticate(identity: object): Promise<User> {
    const answer = await read<{ access_token: string; expires_at: string; user: { uuid: string } }>('POST', '/v2/authenticate', 200, {
      body: identity,
    });
    const externalUserId = 'external_user_id' in identity ? String(identity.external_user_id) : '';
    return { uuid: answer.user.uuid, token: answer.access_token, externalUserId };
  }
  return {
    base,
    headers,
    send,
    read,
    authenticate,
    async signUp(identity: object): Promise<User> {
      const created = await read<{ uuid: string }>('POST', '/v2/users', 201, { body: identity });
      const user = await authenticate(identity);
      assert.equal(user.uuid, created.uuid);
      return user;
    },
    /** Follows `next_uri` as it is given, to its end. */
    async list<T>(path: string, user: User): Promise<T[]> {
      const resources: T[] = [];
      for (let next: string | null = path; next !== null; ) {
        const page: { resources: T[]; pagination: { next_uri: string | null } } = await read('GET', next, 200, { user });
        resources.push(...page.resources);
        next = page.pagination.next_uri;
      }
      return resources;
    },
    async poll<T>(path: string, user: User, done: (answer: T) => boolean): Promise<T> {
      for (;;) {
        const answer = await read<T>('GET', path, 200, { user });
        if (done(answer)) return answer;
        await nextPoll();
      }
    },
  };
}

/** What the user's browser does: one cookie, forms as the pages give them, redirects followed. */
async function walkThroughConnect(client: Client, user: User, login: string): Promise<{ itemId: number; callback: URL }> {
  const body = { country: 'fr', prefill_email: 'someone@example.org', redirect_url: 'https://shop.example/banks', context: 'order-42' };
  const { redirect_url } = await client.read<{ redirect_url: string }>('POST', '/v2/connect/items/add', 200, { user, body });
  let cookie = '';
  const visit = async (url: string, form?: Record<string, string>): Promise<string> => {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: cookie === '' ? {} : { Cookie: cookie },
      ...(form ? { method: 'POST', body: new URLSearchParams(form) } : {}),
    });
    cookie = response.headers.getSetCookie()[0]?.split(';')[0] ?? cookie;
    const location = response.headers.get('location');
    if (location !== null) return visit(new URL(location, url).href);
    assert.equal(response.status, 200, url);
    return response.text();
  };
  /** Presses the one button of the form that posts there. */
  const press = (html: string, action: string, values: Record<string, string> = {}): Promise<string> => {
    const form = [...html.matchAll(/<form[^>]* action="([^"]+)"[^>]*>(.*?)<\/form>/gs)].find(([, target]) =>
      new RegExp(`/${action}(\\?|$)`).test(target!),
    );
    assert.ok(form, `a form to ${action} in ${html}`);
    const csrf = /name="csrf" value="([^"]+)"/.exec(form[2]!)![1]!;
    return visit(new URL(form[1]!.replaceAll('&amp;', '&'), redirect_url).href, { csrf, ...values });
  };
  const banks = await press(await visit(redirect_url), 'start');
  const credentials = await press(banks, 'bank', { bank_id: String(DEMO_BANK) });
  let page = await press(credentials, 'credentials', { USER: login, PWD: 'any' });
  for (;;) {
    const way = /href="(https:\/\/shop\.example\/banks\?[^"]+)"/.exec(page)?.[1]?.replaceAll('&amp;', '&');
    const callback = way === undefined ? null : new URL(way);
    if (callback?.searchParams.get('success') === 'true') return { itemId: Number(callback.searchParams.get('item_id')), callback };
    await nextPoll();
    page = await visit(redirect_url);
  }
}

/** Programs poll about once a second; that also keeps them within 60 requests a minute. */
function nextPoll(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 500));
}

// ---------------------------------------------------------------- its receiver

type Content = {
  item_id: number;
  account_id: number;
  full_refresh: boolean;
  nb_new_transactions: number;
  nb_updated_transactions: number;
  nb_deleted_transactions: number;
};
type Received = { type: string; timestamp: number; content: Content };
type Receiver = {
  url: string;
  secret: string;
  events: Received[];
  problems: string[];
  until(matches: (event: Received, index: number) => boolean): Promise<void>;
  typesOf(itemId: number): string[];
};

/** Answers 200 at once, knows no delivery id: it takes a body once by its hash, and reads the signature to the letter. */
async function startReceiver(t: TestContext): Promise<Receiver> {
  const seen = new Set<string>();
  const arrivals = new EventTarget();
  const receiver: Receiver = {
    url: '',
    secret: '',
    events: [],
    problems: [],
    async until(matches) {
      const deadline = AbortSignal.timeout(PATIENCE_MS);
      while (!receiver.events.some(matches)) {
        deadline.throwIfAborted();
        await Promise.race([once(arrivals, 'arrival'), once(deadline, 'abort')]);
      }
    },
    typesOf: (itemId) => receiver.events.filter(({ content }) => content.item_id === itemId).map(({ type }) => type),
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      response.end();
      const body = Buffer.concat(chunks);
      const mac = createHmac('sha256', receiver.secret).update(body).digest('hex').toUpperCase();
      const signature = request.headers['bridgeapi-signature'];
      if (signature !== `v1=${mac}`) receiver.problems.push(`signature ${signature}`);
      if (request.method !== 'POST' || request.headers['content-type'] !== 'application/json') receiver.problems.push('no JSON is posted');
      const hash = createHash('sha256').update(body).digest('hex');
      if (seen.has(hash)) return;
      seen.add(hash);
      receiver.events.push(JSON.parse(body.toString()) as Received);
      arrivals.dispatchEvent(new Event('arrival'));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks`;
  return receiver;
}

// ---------------------------------------------------------------- and the operator's side

type House = { server: RunningServer; client: Client; receiver: Receiver; passDays(days: number): Promise<void> };

async function openHouse(engine: Engine, t: TestContext): Promise<House> {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-integration-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const target = engine === 'postgres' ? await freshTarget(engine, t) : null;
  const read = readConfig(
    {
      PONTAGE_DATA_DIR: folder,
      PONTAGE_PORT: '0',
      PONTAGE_LOG_LEVEL: 'error',
      PONTAGE_SECRET_KEY: 'Vq3x9ZrT5mK8wY2nB7cD4fG6hJ1kL0pQ',
      ...(target && 'databaseUrl' in target ? { DATABASE_URL: target.databaseUrl } : {}),
    },
    'development',
  );
  assert.ok(read.ok);
  const server = await startServer(read.config);
  t.after(() => server.stop());
  const receiver = await startReceiver(t);
  const { storage, vault, policy, clock } = server.services;
  const application = await storage.transaction((tx) =>
    createApplication(tx, { name: 'Shop', environment: 'sandbox', redirectUrl: 'https://shop.example/banks' }, clock.now()),
  );
  const fields = { name: 'receiver', url: receiver.url, events: EVENT_TYPES };
  const created = await createEndpoint({ storage, vault, now: clock.now() }, application.id, fields, policy);
  assert.ok(created.outcome === 'created');
  receiver.secret = created.secret;
  const client = createClient(server.localUrl, {
    'Client-Id': application.clientId,
    'Client-Secret': application.clientSecret,
    'Bridge-Version': '2021-06-01',
  });
  return {
    server,
    client,
    receiver,
    /** Moves the sandbox's clock alone; the refresh is the program's to ask for. */
    async passDays(days) {
      await storage.transaction((tx) =>
        tx.run(sql`update applications set clock_offset_ms = clock_offset_ms + ${days * DAY_MS} where id = ${application.id}`),
      );
    },
  };
}
