/**
 * How fast, and how soon. Durable deliveries per second beside a bare undici loop that sends the same bytes, headers and
 * signatures to the same receiver and stores nothing, run by turns; and the time from commit to receiver at a steady rate.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Dispatcher, Pool } from 'undici';
import { systemClock } from '../src/base/clock.ts';
import { startDelivery } from '../src/delivery/delivery.ts';
import { CONCURRENCY } from '../src/delivery/sending/sender.ts';
import { createSigner } from '../src/delivery/sending/signing.ts';
import { createEndpoint, deleteEndpoint } from '../src/endpoints/endpoints.ts';
import { EVENT_TYPES, type EventDraft, renderBody } from '../src/events/catalogue.ts';
import { appendEvents, createLanes, eventId, laneOf, takeTimestamps } from '../src/events/log.ts';
import { migrate } from '../src/storage/migrate.ts';
import { openStorage } from '../src/storage/open.ts';
import { sql } from '../src/storage/sql.ts';
import type { Storage } from '../src/storage/storage.ts';
import { silentLog } from '../src/telemetry/log.ts';
import { createVault, deriveWrappingKey, type Vault } from '../src/vault/vault.ts';
import { freshDatabase, startPostgres } from '../test/support/postgres.ts';
import { type Figure, median } from './figures.ts';

export type { Figure } from './figures.ts';

const POLICY = { allowLoopback: true, allowedRanges: [] };
const APPLICATION = 'app_bench';
const ITEMS = 1_000;
/** Each item has a user of its own: refreshes of one user wait for one another, and that is not what is measured. */
const user = (itemId: number) => `766b2f5d-a942-492c-9ea7-2e5aa8${String(itemId % ITEMS).padStart(6, '0')}`;
const APPEND_CHUNK = 1_000;
const LATENCY_RATE_PER_S = 200;
const LATENCY_P99_LIMIT_MS = 25;
const RATIO_LIMIT = { sqlite: 0.5, postgres: 0.4 } as const;
const SIZES = {
  full: { rounds: 5, deliveries: 30_000, latencyEvents: 3_000 },
  short: { rounds: 3, deliveries: 8_000, latencyEvents: 600 },
} as const;

export async function runDeliveryBench(options: { engine: 'sqlite' | 'postgres'; short: boolean }): Promise<Figure[]> {
  const size = options.short ? SIZES.short : SIZES.full;
  const place = await openPlace(options.engine);
  try {
    const vault = createVault(() => ({ current: KEY, all: [KEY] }));
    await seed(place.storage);
    return [
      ...(await throughput(place.storage, vault, size, options.engine)),
      ...(await latency(place.storage, vault, size, options.engine)),
    ];
  } finally {
    await place.close();
  }
}

const KEY = deriveWrappingKey('a key for the benchmark, of no use elsewhere');

async function openPlace(engine: 'sqlite' | 'postgres'): Promise<{ storage: Storage; close(): Promise<void> }> {
  if (engine === 'postgres') {
    const server = await startPostgres({ durable: true });
    const storage = openStorage({ databaseUrl: await freshDatabase(server.url) });
    return {
      storage,
      async close() {
        await storage.close();
        await server.stop();
      },
    };
  }
  const folder = mkdtempSync(join(tmpdir(), 'pontage-bench-'));
  const storage = openStorage({ file: join(folder, 'pontage.db') });
  return {
    storage,
    async close() {
      await storage.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function seed(storage: Storage): Promise<void> {
  await migrate(storage, 0);
  await createLanes(storage);
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
          values (${APPLICATION}, 'bench', 'sandbox', 'bench', '', 0)`,
    );
    const users = Array.from({ length: ITEMS }, (_, index) => [user(index), APPLICATION, 0]);
    await tx.insertMany('users', ['uuid', 'application_id', 'created_at'], users);
  });
}

function draft(number: number): EventDraft & { itemId: number } {
  const itemId = 4_568_000 + (number % ITEMS);
  const balance = { minor: 167_812 + number, exponent: 2, currency: 'EUR' };
  return {
    type: 'item.account.updated',
    itemId,
    accountId: 22_908_770,
    userUuid: user(itemId),
    balance,
    created: 15,
    updated: 0,
    deleted: 0,
  };
}

async function append(storage: Storage, first: number, count: number): Promise<void> {
  await storage.transaction(async (tx) => {
    const events = Array.from({ length: count }, (_, index) => ({ draft: draft(first + index), timestamp: Date.now() + index }));
    await appendEvents(tx, { applicationId: APPLICATION, refreshId: null, committedAt: Date.now() }, events);
  });
}

async function startReceiver(timed: boolean): Promise<{ url: string; process: ChildProcess; stop(): void }> {
  const process = fork(new URL('./receiver.ts', import.meta.url), timed ? ['--timed'] : []);
  const [{ port }] = (await once(process, 'message')) as [{ port: number }];
  return { url: `http://127.0.0.1:${port}/webhooks`, process, stop: () => process.kill() };
}

async function newEndpoint(storage: Storage, vault: Vault, url: string): Promise<{ id: string; secret: string }> {
  const fields = { name: 'bench', url, events: EVENT_TYPES };
  const created = await createEndpoint({ storage, vault, now: Date.now() }, APPLICATION, fields, POLICY);
  if (created.outcome !== 'created') throw new Error(created.sentence);
  return { id: created.endpoint.id, secret: created.secret };
}

const delivery = (storage: Storage, vault: Vault) => ({
  storage,
  vault,
  clock: systemClock,
  policy: POLICY,
  version: '0.0.0',
  log: silentLog,
});

type Size = { rounds: number; deliveries: number; latencyEvents: number };

async function throughput(storage: Storage, vault: Vault, size: Size, engine: 'sqlite' | 'postgres'): Promise<Figure[]> {
  const receiver = await startReceiver(false);
  const ours: number[] = [];
  const bare: number[] = [];
  try {
    await bareLoop(receiver.url, 'whsec_AAAA', 4_000);
    for (let round = 0; round < size.rounds; round += 1) {
      const endpoint = await newEndpoint(storage, vault, receiver.url);
      bare.push(await bareLoop(receiver.url, endpoint.secret, size.deliveries));
      for (let first = 0; first < size.deliveries; first += APPEND_CHUNK)
        await append(storage, first, Math.min(APPEND_CHUNK, size.deliveries - first));
      ours.push(await durable(storage, vault, size.deliveries));
      await deleteEndpoint({ storage, vault, now: Date.now() }, endpoint.id);
    }
  } finally {
    receiver.stop();
  }
  const value = median(ours);
  const peer = median(bare);
  const limit = { atLeast: RATIO_LIMIT[engine] };
  return [{ name: `durable deliveries, ${engine}`, value, unit: '/s', peer, ratio: value / peer, limit }];
}

/** From the start of delivery until the last one is committed. */
async function durable(storage: Storage, vault: Vault, count: number): Promise<number> {
  const started = performance.now();
  let running: ReturnType<typeof startDelivery> | undefined;
  await new Promise<void>((resolve, reject) => {
    let seen = 0;
    running = startDelivery({
      ...delivery(storage, vault),
      onAttempt: (report) => {
        if (report.failure) reject(new Error(report.failure.message));
        seen += 1;
        if (seen === count) resolve();
      },
    });
  });
  const perSecond = (count / (performance.now() - started)) * 1_000;
  await running?.stop();
  return perSecond;
}

/** undici's own quickest way: no promise of a response, no stream of its body. */
function answered(pool: Pool, request: Dispatcher.DispatchOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    pool.dispatch(request, {
      onRequestStart() {},
      onResponseStart() {},
      onResponseData() {},
      onResponseEnd: () => resolve(),
      onResponseError: (_, error) => reject(error),
    });
  });
}

/** The least that a program must do to send these requests with undici. */
async function bareLoop(target: string, secret: string, count: number): Promise<number> {
  const { origin, pathname: path } = new URL(target);
  const pool = new Pool(origin, { connections: CONCURRENCY, pipelining: 1 });
  const sign = createSigner([{ secret, expiresAt: null }]);
  let next = 0;
  const send = async () => {
    while (next < count) {
      const number = next;
      next += 1;
      const event = draft(number);
      const content = JSON.stringify(event);
      const id = eventId(laneOf(`item:${event.itemId}`), number + 1);
      const now = Date.now();
      const body = Buffer.from(renderBody({ type: event.type, content, timestamp: now }));
      const timestamp = String(Math.floor(now / 1_000));
      const signatures = sign(id, timestamp, body, now)!;
      const headers = [
        ...['content-type', 'application/json', 'user-agent', 'Pontage/0.0.0', 'BridgeApi-Signature', signatures.bridge],
        ...['webhook-id', id, 'webhook-timestamp', timestamp, 'webhook-signature', signatures.standard!],
      ];
      await answered(pool, { path, method: 'POST', headers, body });
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: CONCURRENCY }, send));
  const perSecond = (count / (performance.now() - started)) * 1_000;
  await pool.close();
  return perSecond;
}

/** Open loop: commits are begun by the clock and never wait for one another, so that a slow one cannot hide behind itself. */
async function latency(storage: Storage, vault: Vault, size: Size, engine: 'sqlite' | 'postgres'): Promise<Figure[]> {
  const receiver = await startReceiver(true);
  const endpoint = await newEndpoint(storage, vault, receiver.url);
  const committed = new Map<string, bigint>();
  const running = startDelivery(delivery(storage, vault));
  await running.tick();

  const commit = async (number: number) => {
    const event = draft(number);
    const lane = laneOf(`item:${event.itemId}`);
    const seq = await storage.transaction(async (tx) => {
      const [timestamp] = await takeTimestamps(tx, user(event.itemId), Date.now(), 1);
      await appendEvents(tx, { applicationId: APPLICATION, refreshId: null, committedAt: Date.now() }, [
        { draft: event, timestamp: timestamp! },
      ]);
      return (await tx.first<{ head: number }>(sql`select head from lane_heads where lane = ${lane}`))!.head;
    });
    committed.set(eventId(lane, seq), process.hrtime.bigint());
    running.wake([lane]);
  };

  const commits: Promise<void>[] = [];
  const started = performance.now();
  while (commits.length < size.latencyEvents) {
    const dueCount = Math.min(size.latencyEvents, Math.floor(((performance.now() - started) / 1_000) * LATENCY_RATE_PER_S) + 1);
    while (commits.length < dueCount) commits.push(commit(commits.length));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(commits);
  while (running.stats().delivered < size.latencyEvents) await new Promise((resolve) => setTimeout(resolve, 10));
  receiver.process.send('report');
  const [{ arrivals }] = (await once(receiver.process, 'message')) as [{ arrivals: [string, string][] }];
  receiver.stop();
  await running.stop();
  await deleteEndpoint({ storage, vault, now: Date.now() }, endpoint.id);

  const times = arrivals
    .filter(([id]) => committed.has(id))
    .map(([id, at]) => Number(BigInt(at) - committed.get(id)!) / 1e6)
    .sort((a, b) => a - b);
  if (times.length !== size.latencyEvents) throw new Error(`${times.length} of ${size.latencyEvents} events arrived once`);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]!;
  const name = (share: string) => `commit to receiver, ${share}, ${LATENCY_RATE_PER_S}/s, ${engine}`;
  return [
    { name: name('p50'), value: at(0.5), unit: 'ms' },
    { name: name('p99'), value: at(0.99), unit: 'ms', limit: { below: LATENCY_P99_LIMIT_MS } },
  ];
}
