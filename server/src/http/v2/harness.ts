/** What the tests of the API share: the real application on a real database, reached through its front door. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { type ApplicationCredentials, createApplication, type NewApplication } from '../../access/applications.ts';
import type { Bank, Connector } from '../../connectors/connector.ts';
import { createRegistry } from '../../connectors/registry.ts';
import { sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { eraseItem, eraseUser } from '../../upkeep/erasure.ts';
import { createVault, deriveWrappingKey } from '../../vault/vault.ts';
import { createV2 } from './app.ts';
import type { ConnectRequest, Services } from './services.ts';

export const START = Date.parse('2023-07-26T09:10:16.058Z');

export type House = {
  storage: Storage;
  clock: { now(): number; advance(ms: number): void };
  /** What the Connect pages and the refresh worker were asked for. */
  asked: { connect: ConnectRequest[]; refresh: number[]; failures: unknown[] };
  application(options?: Partial<NewApplication>): Promise<Tenant>;
  fetch: (path: string, init?: RequestInit) => Promise<Response>;
};

export type Tenant = ApplicationCredentials & {
  headers: Record<string, string>;
  get(path: string, token?: string, headers?: Record<string, string>): Promise<Response>;
  send(method: string, path: string, body?: unknown, token?: string): Promise<Response>;
  /** A user with a token. */
  user(body?: object): Promise<{ uuid: string; token: string }>;
};

/** The API on a migrated storage; whoever opened that closes it. */
export function openHouse(storage: Storage, options: Partial<Services> = {}): House {
  let now = START;
  const clock = {
    now: () => now,
    advance: (ms: number) => {
      now += ms;
    },
  };
  const wrappingKey = deriveWrappingKey('a wrapping key of the tests, long enough');
  const vault = createVault(() => ({ current: wrappingKey, all: [wrappingKey] }));
  const asked: House['asked'] = { connect: [], refresh: [], failures: [] };
  const app = createV2({
    storage,
    clock,
    registry: createRegistry([
      bankOf(574, { name: 'Demo bank' }),
      bankOf(591, { countryCode: 'ES' }),
      bankOf(900, { environments: ['production'] }),
    ]),
    createConnectSession: async (request) => {
      asked.connect.push(request);
      return { url: 'http://127.0.0.1:4280/connect/session' };
    },
    requestRefresh: async (itemId) => {
      asked.refresh.push(itemId);
      return { refreshId: 'rfr_1' };
    },
    deleteItem: (itemId) => eraseItem({ storage, vault, now: clock.now() }, itemId),
    deleteUser: (userUuid) => eraseUser({ storage, vault, now: clock.now() }, userUuid),
    publicUrl: 'http://127.0.0.1:4280',
    documentationUrl: 'https://docs.example/errors',
    clientAddress: (c) => c.req.header('X-Test-Address') ?? '192.0.2.1',
    reportFailure: (error) => asked.failures.push(error),
    ...options,
  });
  const fetch = async (path: string, init?: RequestInit) => app.request(path, init);
  return {
    storage,
    clock,
    asked,
    fetch,
    application: async (application = {}) => {
      const credentials = await storage.transaction((tx) =>
        createApplication(tx, { name: 'tenant', environment: 'sandbox', redirectUrl: null, ...application }, START),
      );
      return tenant(credentials, fetch);
    },
  };
}

function tenant(credentials: ApplicationCredentials, fetch: House['fetch']): Tenant {
  const headers = { 'Bridge-Version': '2021-06-01', 'Client-Id': credentials.clientId, 'Client-Secret': credentials.clientSecret };
  const bearer = (token?: string) => (token ? { Authorization: `Bearer ${token}` } : {});
  const send: Tenant['send'] = (method, path, body, token) =>
    fetch(path, {
      method,
      headers: { ...headers, ...bearer(token), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  return {
    ...credentials,
    headers,
    send,
    get: (path, token, more = {}) => fetch(path, { headers: { ...headers, ...bearer(token), ...more } }),
    user: async (body = {}) => {
      const { uuid } = (await (await send('POST', '/v2/users', body)).json()) as { uuid: string };
      const issued = (await (await send('POST', '/v2/authenticate', { user_uuid: uuid })).json()) as { access_token: string };
      return { uuid, token: issued.access_token };
    },
  };
}

function bankOf(id: number, bank: Partial<Bank>): Connector {
  const failure = { kind: 'failed', status: 1003, info: null } as const;
  return {
    bank: {
      id,
      name: `Bank ${id}`,
      countryCode: 'FR',
      logoUrl: 'http://127.0.0.1:4280/logo.png',
      authenticationType: 'INTERNAL_CREDS',
      form: [{ label: 'Identifiant', type: 'USER', isNum: '0', maxLength: null, minLength: null }],
      isHighlighted: false,
      primaryColor: null,
      secondaryColor: null,
      parentName: null,
      capabilities: ['ais'],
      channelType: ['direct_access'],
      displayOrder: null,
      environments: ['sandbox', 'production'],
      input: 'credentials',
      unattended: true,
      ...bank,
    },
    authenticate: async () => failure,
    listAccounts: async () => failure,
    fetchAccount: async () => failure,
  };
}

export async function addItem(
  storage: Storage,
  item: { id: number; applicationId: string; userUuid: string; status?: number; info?: string | null },
): Promise<void> {
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`insert into data_keys (id, wrapped, wrapping_key_id, created_at) values (${`key_${item.id}`}, 'wrapped', 'k', ${START})`,
    );
    await tx.run(sql`
      insert into items (id, application_id, user_uuid, bank_id, status, status_code_info, data_key_id, created_at)
      values (${item.id}, ${item.applicationId}, ${item.userUuid}, 574, ${item.status ?? 0}, ${item.info ?? null}, ${`key_${item.id}`}, ${START})`);
  });
}

export async function addAccount(
  storage: Storage,
  account: {
    id: number;
    itemId: number;
    userUuid: string;
    balance?: number | null;
    loan?: string;
    savings?: string;
    deleted?: boolean;
  },
): Promise<void> {
  const balance = account.balance === undefined ? 120146 : account.balance;
  await storage.transaction((tx) =>
    tx.run(sql`
      insert into accounts (id, item_id, user_uuid, bank_id, name, type, currency, iban, loan_details, savings_details, balance_minor,
        balance_exponent, deleted_at, created_at, updated_at)
      values (${account.id}, ${account.itemId}, ${account.userUuid}, 574, 'Compte Courant 1', 'checking', 'EUR', 'FR6914508000303386763591H62',
        ${account.loan ?? null}, ${account.savings ?? null}, ${balance}, ${balance === null ? null : 2},
        ${account.deleted ? START : null}, ${START}, ${START})`),
  );
}

export type SeedTransaction = {
  id: number;
  date: string;
  updatedAt?: number;
  deleted?: boolean;
  status?: 'booked' | 'pending' | 'scheduled';
  bookingDate?: string | null;
  amountMinor?: number;
};

export async function addTransactions(
  storage: Storage,
  owner: { accountId: number; userUuid: string },
  rows: readonly SeedTransaction[],
): Promise<void> {
  const columns = [
    'id',
    'account_id',
    'user_uuid',
    'status',
    'amount_minor',
    'amount_exponent',
    'currency',
    'date',
    'date_source',
    'booking_date',
    'bank_description',
    'clean_description',
    'category_id',
    'is_deleted',
    'created_at',
    'updated_at',
  ];
  await storage.transaction((tx) =>
    tx.insertMany(
      'transactions',
      columns,
      rows.map((row) => [
        row.id,
        owner.accountId,
        owner.userUuid,
        row.status ?? 'booked',
        row.amountMinor ?? -5000,
        2,
        'EUR',
        row.date,
        'booking',
        row.bookingDate ?? null,
        'Cb temporary transaction',
        'Cb Temporary Transaction',
        306,
        row.deleted ? 1 : 0,
        START,
        row.updatedAt ?? START,
      ]),
    ),
  );
}

/** The flat error of the contract, with its anchor in the documentation, and nothing of our insides. */
export async function refused(response: Response, status: number, type: string): Promise<void> {
  const body = (await response.json()) as { type: string; message: string; documentation_url: string };
  assert.equal(response.status, status, JSON.stringify(body));
  assert.deepEqual(Object.keys(body), ['type', 'message', 'documentation_url']);
  assert.equal(body.type, type);
  assert.equal(body.documentation_url, `https://docs.example/errors#${type}`);
  assert.equal(response.headers.get('Content-Type'), 'application/json');
  assert.doesNotMatch(JSON.stringify(body), /\bat .*\.ts:|node_modules/);
}

/** Follows `next_uri` to the end, as a client does. */
export async function follow<T>(
  tenantOf: Tenant,
  path: string,
  token?: string,
): Promise<{ pages: number; resources: T[]; uris: string[] }> {
  const resources: T[] = [];
  const uris: string[] = [];
  let next: string | null = path;
  let pages = 0;
  while (next !== null) {
    const body = (await (await tenantOf.get(next, token)).json()) as { resources: T[]; pagination: { next_uri: string | null } };
    resources.push(...body.resources);
    next = body.pagination.next_uri;
    if (next !== null) uris.push(next);
    pages += 1;
  }
  return { pages, resources, uris };
}

/** Tells stories of the API, each once per engine, on a database of its own. */
export function stories(name: string, tell: (story: (sentence: string, run: (house: House) => Promise<void>) => void) => void): void {
  eachEngine(name, (open) => tell((sentence, run) => void test(sentence, async (t) => run(openHouse(await open(t))))));
}
