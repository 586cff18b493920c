/** What the tests of the management API share: the real application on a real database, reached through its front door. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { type ApplicationCredentials, createApplication } from '../../access/applications.ts';
import { randomId } from '../../base/random.ts';
import { appendEvents } from '../../events/append.ts';
import { type Arrivals, createArrivals, type Later } from '../../events/arrivals.ts';
import { createBankOutcomes } from '../../refresh/schedule/circuits.ts';
import { advanceClock } from '../../refresh/test-clock/test-clock.ts';
import { createCounters } from '../../storage/counters.ts';
import { sql } from '../../storage/sql.ts';
import type { Storage, Writer } from '../../storage/storage.ts';
import { silentLog } from '../../telemetry/log.ts';
import { createVault, deriveWrappingKey } from '../../vault/vault.ts';
import { createApi } from './app.ts';
import type { Services } from './services.ts';

export const START = Date.parse('2023-07-26T09:10:16.058Z');

export type House = {
  storage: Storage;
  clock: DrivenClock;
  arrivals: Arrivals;
  failures: unknown[];
  application(): Promise<Tenant>;
  fetch(path: string, init?: RequestInit): Promise<Response>;
};

export type Tenant = ApplicationCredentials & {
  headers: Record<string, string>;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** The body of an answer 200. */
  read<T = Record<string, unknown>>(path: string): Promise<T>;
};

export function openHouse(storage: Storage, options: Partial<Services> = {}): House {
  const clock = drivenClock();
  const failures: unknown[] = [];
  const arrivals = createArrivals({ reader: storage, later: clock.later });
  const key = deriveWrappingKey('a wrapping key of the tests, long enough');
  const vault = createVault(() => ({ current: key, all: [key] }));
  const connector = options.connector ?? (() => null);
  const walking = {
    storage,
    vault,
    clock,
    connector,
    log: silentLog,
    pause: async () => {},
    outcomes: createBankOutcomes(),
    counters: createCounters(storage),
    onEvents() {},
  };
  const app = createApi({
    storage,
    vault,
    policy: { allowLoopback: true, allowedRanges: [] },
    resolve: async (hostname) => [{ address: hostname === 'inside.example.com' ? '10.0.0.7' : '93.184.215.14', family: 4 }],
    onEvents() {},
    onRefreshRequested() {},
    connector,
    moveClock: (id, { target }, signal) => advanceClock(walking, id, target, { signal }),
    clock,
    arrivals,
    publicUrl: 'http://127.0.0.1:4280',
    documentationUrl: 'https://docs.example/errors',
    clientAddress: (c) => c.req.header('X-Test-Address') ?? '192.0.2.1',
    reportFailure: (error) => failures.push(error),
    ...options,
  });
  const fetch = async (path: string, init?: RequestInit) => app.request(path, init);
  return {
    storage,
    clock,
    arrivals,
    failures,
    fetch,
    application: async () => {
      const fields = { name: 'tenant', environment: 'sandbox', redirectUrl: null } as const;
      return tenant(await storage.transaction((tx) => createApplication(tx, fields, START)), fetch);
    },
  };
}

/** Some seconds of an idle machine's event loop: what is not settled then never will be. */
export const TURNS_MAX = 3_000_000;

/** Moved only by the test, which runs what was put off until then. */
export type DrivenClock = {
  now(): number;
  advance(ms: number): void;
  later: Later;
  /** Moves on by `ms` whenever something is put off for no longer, until the promise is settled. */
  until<T>(promise: Promise<T>, ms: number): Promise<T>;
};

function drivenClock(): DrivenClock {
  let now = START;
  const timers = new Set<{ at: number; work: () => void }>();
  return {
    now: () => now,
    advance(ms) {
      now += ms;
      for (const timer of [...timers].sort((a, b) => a.at - b.at)) {
        if (timer.at <= now && timers.delete(timer)) timer.work();
      }
    },
    async until(promise, ms) {
      let settled = false;
      const end = () => {
        settled = true;
      };
      void promise.then(end, end);
      for (let turns = 0; !settled; turns += 1) {
        assert.ok(turns < TURNS_MAX, `not settled, with ${JSON.stringify([...timers].map(({ at }) => at - now))} ms to go`);
        if ([...timers].some(({ at }) => at - now <= ms)) this.advance(ms);
        await new Promise(setImmediate);
      }
      return promise;
    },
    later(work, delayMs) {
      const timer = { at: now + delayMs, work };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
  };
}

function tenant(credentials: ApplicationCredentials, fetch: House['fetch']): Tenant {
  const headers = { 'Client-Id': credentials.clientId, 'Client-Secret': credentials.clientSecret };
  const get: Tenant['get'] = (path, more = {}) => fetch(path, { headers: { ...headers, ...more } });
  return {
    ...credentials,
    headers,
    get,
    send: (method, path, body, more = {}) =>
      fetch(path, {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...more },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    read: async <T>(path: string) => {
      const response = await get(path);
      const text = await response.text();
      assert.equal(response.status, 200, text);
      return JSON.parse(text) as T;
    },
  };
}

/** `item.created` of each item, in one transaction, as a refresh commits them. */
export async function addEvents(storage: Storage, application: { id: string }, items: readonly number[], at = START): Promise<void> {
  await storage.transaction((tx) => appendCreated(tx, application, items, at));
}

export async function appendCreated(tx: Writer, application: { id: string }, items: readonly number[], at: number): Promise<void> {
  await appendEvents(
    tx,
    { applicationId: application.id, refreshId: null, committedAt: at },
    items.map((itemId, index) => ({
      draft: { type: 'item.created', itemId, userUuid: '9a95b38f-f98b-417a-988b-9d0d584893e7' },
      timestamp: at + index,
    })),
  );
}

/** A webhook that nothing is sent to. Answers its id. */
export async function addEndpoint(storage: Storage, application: { id: string }): Promise<string> {
  const id = randomId('wh');
  await storage.transaction((tx) =>
    tx.run(
      sql`insert into endpoints (id, application_id, name, url, events, data_key_id, created_at, updated_at)
          values (${id}, ${application.id}, 'test', 'http://127.0.0.1:9/', '["item.created"]', '', ${START}, ${START})`,
    ),
  );
  return id;
}

export type Attempted = {
  endpointId: string;
  lane: number;
  seq: number;
  at: number;
  source: string;
  n: number;
  delivered: boolean;
  status: number;
  type: string;
  itemId: number;
  failure?: string;
  message?: string;
  snippet?: string;
};

/** As settling writes them; what is not said is a first success. */
export async function addAttempts(
  storage: Storage,
  attempts: readonly (Pick<Attempted, 'endpointId' | 'lane' | 'seq' | 'at'> & Partial<Attempted>)[],
): Promise<void> {
  const columns = ['segment', 'lane', 'seq', 'endpoint_id', 'source', 'n', 'at', 'delivered', 'status', 'duration_ms'];
  const rows = attempts.map((one) => [
    ...[
      1,
      one.lane,
      one.seq,
      one.endpointId,
      one.source ?? 'live',
      one.n ?? 1,
      one.at,
      one.delivered === false ? 0 : 1,
      one.status ?? 200,
      12.5,
    ],
    ...[one.type ?? 'item.created', one.itemId ?? 1, one.failure ?? null, one.message ?? null, one.snippet ?? null],
  ]);
  await storage.transaction((tx) => tx.insertMany('attempts', [...columns, 'type', 'item_id', 'failure', 'message', 'snippet'], rows));
}

/** The flat error, with its anchor in the documentation, and nothing of our insides. Answers its message. */
export async function refused(response: Response, status: number, type: string): Promise<string> {
  const body = (await response.json()) as { type: string; message: string; documentation_url: string };
  assert.equal(response.status, status, JSON.stringify(body));
  assert.deepEqual(Object.keys(body), ['type', 'message', 'documentation_url']);
  assert.equal(body.type, type);
  assert.equal(body.documentation_url, `https://docs.example/errors#${type}`);
  assert.doesNotMatch(JSON.stringify(body), /\bat .*\.ts:|node_modules/);
  return body.message;
}

/** Tells stories of the management API, each once per engine, on a database of its own. */
export function stories(name: string, tell: (story: (sentence: string, run: (house: House) => Promise<void>) => void) => void): void {
  eachEngine(name, (open) => tell((sentence, run) => void test(sentence, async (t) => run(openHouse(await open(t))))));
}
