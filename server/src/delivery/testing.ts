/** For tests of delivery: an application with a user, events by the real log, and receivers that are real servers. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { AddressPolicy } from '../endpoints/addresses.ts';
import { createEndpoint, type Endpoint, updateEndpoint } from '../endpoints/endpoints.ts';
import { appendEvents, takeTimestamps } from '../events/append.ts';
import { EVENT_TYPES, type EventDraft } from '../events/catalogue.ts';
import { laneOf } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { silentLog } from '../telemetry/log.ts';
import { createVault, deriveWrappingKey, type Vault } from '../vault/vault.ts';
import { type Delivery, type DeliveryOptions, startDelivery } from './delivery.ts';
import type { AttemptReport } from './reports.ts';

export const POLICY: AddressPolicy = { allowLoopback: true, allowedRanges: [] };
const USER = '766b2f5d-a942-492c-9ea7-2e5aa88cb672';
const START = 1_700_000_000_000;

export type Received = { headers: IncomingHttpHeaders; body: string; id: string };
export type Receiver = { url: string; received: Received[]; seqs(): string[]; until(count: number): Promise<void> };

/** A clock that only the test moves. */
export type DrivenClock = { now(): number; advance(ms: number): void };

export type World = {
  storage: Storage;
  vault: Vault;
  clock: DrivenClock;
  applicationId: string;
  /** Appends one event per item id, in one transaction; answers the lanes. */
  append(itemIds: readonly number[], type?: 'item.created' | 'item.account.deleted'): Promise<number[]>;
  endpoint(url: string, events?: readonly string[]): Promise<{ endpoint: Endpoint; secret: string }>;
  start(extra?: Partial<DeliveryOptions>): Promise<Running>;
};

export type Running = Delivery & {
  reports: AttemptReport[];
  /** Resolves when this many attempts have been committed. */
  settled(count: number): Promise<void>;
};

export async function createWorld(storage: Storage, t: TestContext, applicationId = 'app_one'): Promise<World> {
  const key = deriveWrappingKey('the wrapping key of a test, with characters enough');
  const vault = createVault(() => ({ current: key, all: [key] }));
  let now = START;
  const clock = {
    now: () => now,
    advance: (ms: number) => {
      now += ms;
    },
  };
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
          values (${applicationId}, 'test', 'sandbox', ${applicationId}, '', 0)`,
    );
    await tx.run(sql`insert into users (uuid, application_id, created_at) values (${USER}, ${applicationId}, 0)`);
  });

  return {
    storage,
    vault,
    clock,
    applicationId,
    async append(itemIds, type = 'item.created') {
      await storage.transaction(async (tx) => {
        const timestamps = await takeTimestamps(tx, USER, now, itemIds.length);
        const events = itemIds.map((itemId, index) => ({ draft: draft(type, itemId), timestamp: timestamps[index]! }));
        await appendEvents(tx, { applicationId, refreshId: null, committedAt: now }, events);
      });
      return itemIds.map((itemId) => laneOf(`item:${itemId}`));
    },
    async endpoint(url, events = EVENT_TYPES) {
      const created = await createEndpoint({ storage, vault, now }, applicationId, { name: 'test', url, events }, POLICY);
      if (created.outcome !== 'created') throw new Error(created.sentence);
      return created;
    },
    async start(extra = {}) {
      const reports: AttemptReport[] = [];
      const waiting: { count: number; resolve: () => void }[] = [];
      const delivery = startDelivery({
        ...{ storage, vault, clock, policy: POLICY, version: '1.2.3', log: silentLog, random: () => 0.5 },
        onAttempt(report) {
          reports.push(report);
          for (const { count, resolve } of waiting) if (reports.length >= count) resolve();
        },
        ...extra,
      });
      t.after(() => delivery.abandon());
      await delivery.tick();
      const settled = (count: number) =>
        new Promise<void>((resolve) => {
          if (reports.length >= count) resolve();
          else waiting.push({ count, resolve });
        });
      return { ...delivery, reports, settled };
    },
  };
}

function draft(type: 'item.created' | 'item.account.deleted', itemId: number): EventDraft {
  return type === 'item.created' ? { type, itemId, userUuid: USER } : { type, itemId, userUuid: USER, accountId: 1 };
}

/** Answers 200 unless told otherwise; `answer` sees each request after its body has arrived. */
export async function startReceiver(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse, received: Received) => void = (_, response) => response.end(),
  port = 0,
): Promise<Receiver> {
  const received: Received[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    request.setEncoding('utf8');
    for await (const chunk of request) body += chunk;
    const one = { headers: request.headers, body, id: String(request.headers['webhook-id']) };
    received.push(one);
    answer(request, response, one);
    for (const { count, resolve } of waiting) if (received.length >= count) resolve();
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks?a=b`,
    received,
    seqs: () => received.map(({ id }) => id).sort(),
    until: (count) =>
      new Promise((resolve) => {
        if (received.length >= count) resolve();
        else waiting.push({ count, resolve });
      }),
  };
}

/** `count` whole numbers in a row. */
export const range = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
export const context = ({ storage, vault, clock }: World) => ({ storage, vault, now: clock.now() });
export const count = async ({ storage }: World, table: 'parked' | 'endpoint_positions' | 'skipped') =>
  (await storage.all(sql`select * from ${{ strings: [table], values: [], key: null }}`)).length;
export const parked = async ({ storage }: World) =>
  (
    await storage.all<{ seq: number; state: string; due_at: number | null }>(sql`select seq, state, due_at from parked order by lane, seq`)
  ).map(({ seq, state, due_at }) => `${seq} ${state}${due_at === null ? '' : ' due'}`);
export const parkedRows = async ({ storage }: World) =>
  (
    await storage.all<{ state: string; attempts: number; due_at: number | null }>(
      sql`select state, attempts, due_at from parked order by lane, seq`,
    )
  ).map((row) => ({ ...row }));
/** Over all lanes. */
export const settledSum = async ({ storage }: World) =>
  (await storage.first<{ sum: number }>(sql`select cast(sum(settled) as bigint) as sum from lane_leases`))?.sum;
export const disable = (world: World, id: string) => updateEndpoint(context(world), id, { enabled: false }, POLICY);
export const enable = (world: World, id: string) => updateEndpoint(context(world), id, { enabled: true }, POLICY);
export const itemOf = (body: string) => Number(/"item_id":(\d+)/.exec(body)![1]);

/** What is not there after so many is not coming: a loop that goes on would keep its process, and the suite, for ever. */
export const BEATS_MAX = 20_000;

/** Beats until `reached` says so; nothing here waits for a clock. Between two beats what is under way has its turns. */
export async function until(delivery: Running, reached: () => boolean | Promise<boolean>): Promise<void> {
  for (let beat = 0; !(await reached()); beat += 1) {
    assert.ok(beat < BEATS_MAX, `not reached: ${JSON.stringify(delivery.stats())}`);
    await delivery.tick();
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  }
}

export function assertOrder(receiver: Receiver) {
  for (const [item, received] of Map.groupBy(receiver.received, ({ body }) => itemOf(body))) {
    const first = [...new Set(received.map(({ id }) => id))];
    assert.deepEqual(first, [...first].sort(), `events of item ${item} came out of order`);
  }
}
