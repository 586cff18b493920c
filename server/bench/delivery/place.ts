/** Where a benchmark of delivery happens: a fresh database, an application with users, real endpoints, real events. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { type DeliveryOptions, startDelivery } from '../../src/delivery/delivery.ts';
import { createEndpoint } from '../../src/endpoints/endpoints.ts';
import { appendAll, appendEvents, takeTimestampsOf } from '../../src/events/append.ts';
import { EVENT_TYPES, type EventDraft } from '../../src/events/catalogue.ts';
import { createLanes, laneOf } from '../../src/events/log.ts';
import { createGroups, type Groups } from '../../src/refresh/groups.ts';
import { migrate } from '../../src/storage/migrate.ts';
import { openStorage } from '../../src/storage/open.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { createVault, deriveWrappingKey, type Vault } from '../../src/vault/vault.ts';
import { freshDatabase, startPostgres, type TestPostgres } from '../../test/support/postgres.ts';

export type Engine = 'sqlite' | 'postgres';
export const APPLICATION = 'app_bench';
export const ITEMS = 1_000;
/** The receivers are on this machine. */
const POLICY = { allowLoopback: true, allowedRanges: [] };
const KEY = deriveWrappingKey('a key for the benchmark, of no use elsewhere');
const APPEND_CHUNK = 1_000;

export type Place = {
  engine: Engine;
  storage: Storage;
  vault: Vault;
  commits: Commits;
  /** Opens the same database once more, as a restarted server does. */
  reopen(): Storage;
  /** Bytes on the disk, the write-ahead log of SQLite included. */
  bytes(): Promise<number>;
  close(): Promise<void>;
};

/** `server` is the PostgreSQL to make the database on; ignored on SQLite. */
export async function openPlace(engine: Engine, server: TestPostgres | null): Promise<Place> {
  const vault = createVault(() => ({ current: KEY, all: [KEY] }));
  if (engine === 'postgres') {
    const databaseUrl = await freshDatabase(server!.url);
    const storage = openStorage({ databaseUrl });
    await prepare(storage);
    return {
      engine,
      storage,
      vault,
      commits: createCommits(storage),
      reopen: () => openStorage({ databaseUrl }),
      bytes: async () => (await storage.first<{ bytes: number }>(sql`select pg_database_size(current_database()) as bytes`))!.bytes,
      close: () => storage.close(),
    };
  }
  const folder = mkdtempSync(join(tmpdir(), 'pontage-bench-'));
  const file = join(folder, 'pontage.db');
  const storage = openStorage({ file });
  await prepare(storage);
  return {
    engine,
    storage,
    vault,
    commits: createCommits(storage),
    reopen: () => openStorage({ file }),
    bytes: async () => statSync(file).size + (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0),
    async close() {
      await storage.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** One server for all places of a run; null on SQLite. It waits for the disk as in production. */
export async function startServerOf(engine: Engine): Promise<TestPostgres | null> {
  return engine === 'postgres' ? startPostgres({ durable: true }) : null;
}

async function prepare(storage: Storage): Promise<void> {
  await migrate(storage, 0);
  await createLanes(storage);
  await addApplication(storage, APPLICATION);
}

export async function addApplication(storage: Storage, id: string): Promise<void> {
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
          values (${id}, 'bench', 'sandbox', ${id}, '', 0)`,
    );
    const users = Array.from({ length: ITEMS }, (_, index) => [userOf(index, id), id, 0]);
    await tx.insertMany('users', ['uuid', 'application_id', 'created_at'], users, 'on conflict do nothing');
  });
}

/** Each item has a user of its own: refreshes of one user wait for one another, and that is not what is measured. */
export function userOf(itemId: number, applicationId = APPLICATION): string {
  const application = Number(/\d+$/.exec(applicationId)?.[0] ?? 0);
  return `766b2f5d-a942-492c-${String(application).padStart(4, '0')}-2e5aa8${String(itemId % ITEMS).padStart(6, '0')}`;
}

export type BenchDraft = EventDraft & { itemId: number };

export function draft(number: number, applicationId = APPLICATION): BenchDraft {
  const itemId = 4_568_000 + (number % ITEMS);
  const balance = { minor: 167_812 + number, exponent: 2, currency: 'EUR' };
  const userUuid = userOf(itemId, applicationId);
  return { type: 'item.account.updated', itemId, accountId: 22_908_770, userUuid, balance, created: 15, updated: 0, deleted: 0 };
}

/** Appends `count` events by the real log, a thousand in a commit. */
export async function append(storage: Storage, first: number, count: number): Promise<void> {
  for (let from = first; from < first + count; from += APPEND_CHUNK) {
    const size = Math.min(APPEND_CHUNK, first + count - from);
    await storage.transaction(async (tx) => {
      const now = Date.now();
      const events = Array.from({ length: size }, (_, index) => ({ draft: draft(from + index), timestamp: now + index }));
      await appendEvents(tx, { applicationId: APPLICATION, refreshId: null, committedAt: now }, events);
    });
  }
}

/** What one refresh tells: events of one item. */
type Commit = { userUuid: string; rows: number; applicationId: string; event: BenchDraft; count: number };
export type Commits = Groups<Commit, { lane: number; ids: string[] }>;

/** Commits events as the worker does: refreshes that end together share a transaction. */
export function createCommits(storage: Storage): Commits {
  return createGroups(async (group: readonly Commit[]) => {
    const ids = await storage.transaction(async (tx) => {
      const now = Date.now();
      const timestamps = await takeTimestampsOf(
        tx,
        group.map(({ userUuid, count }) => ({ userUuid, now, count })),
      );
      return appendAll(
        tx,
        group.map(({ applicationId, event }, at) => ({
          origin: { applicationId, refreshId: null, committedAt: Date.now() },
          events: timestamps[at]!.map((timestamp) => ({ draft: event, timestamp })),
        })),
      );
    });
    let before = 0;
    return group.map(({ event, count }) => {
      const own = ids.slice(before, before + count);
      before += count;
      return { lane: laneOf(`item:${event.itemId}`), ids: own };
    });
  });
}

export async function addEndpoint(place: Pick<Place, 'storage' | 'vault'>, url: string, applicationId = APPLICATION) {
  const fields = { name: 'bench', url, events: EVENT_TYPES };
  const created = await createEndpoint({ ...place, now: Date.now() }, applicationId, fields, POLICY);
  if (created.outcome !== 'created') throw new Error(created.sentence);
  return { id: created.endpoint.id, secret: created.secret };
}

export function deliver(place: Pick<Place, 'storage' | 'vault'>, extra: Partial<DeliveryOptions> & { clock?: Clock } = {}) {
  const { storage, vault } = place;
  return startDelivery({ storage, vault, clock: systemClock, policy: POLICY, version: '0.0.0', log: silentLog, ...extra });
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
