/** What the figures of refreshes are measured on: a database with connected items, and the worker of a server. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { pause } from '../../src/base/pause.ts';
import { createLanes, laneOf } from '../../src/events/log.ts';
import { insertItem } from '../../src/items/items.ts';
import { type RefreshPhase, requestRefreshes } from '../../src/items/refreshes.ts';
import { createBankOutcomes } from '../../src/refresh/schedule/circuits.ts';
import type { RefreshServices } from '../../src/refresh/services.ts';
import { CONCURRENT_MAX, startRefreshWorker } from '../../src/refresh/worker.ts';
import { createCounters } from '../../src/storage/counters.ts';
import { migrate } from '../../src/storage/migrate.ts';
import { openStorage } from '../../src/storage/open.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { createVault, deriveWrappingKey } from '../../src/vault/vault.ts';
import { freshDatabase, startPostgres } from '../../test/support/postgres.ts';
import { BANK_ID, type BenchBank } from './bank.ts';

export type Engine = 'sqlite' | 'postgres';

export const APPLICATION = 'app_bench';
export const FIRST_ITEM = 4_568_000;

export const itemsOf = (count: number) => Array.from({ length: count }, (_, index) => FIRST_ITEM + index);
const user = (itemId: number) => `766b2f5d-a942-492c-9ea7-2e5aa8${String(itemId - FIRST_ITEM).padStart(6, '0')}`;

export function servicesOf(storage: Storage, { connector }: BenchBank): RefreshServices {
  const key = deriveWrappingKey('a key for the benchmark, of no use elsewhere');
  return {
    storage,
    vault: createVault(() => ({ current: key, all: [key] })),
    counters: createCounters(storage),
    clock: systemClock,
    log: silentLog,
    connector: () => connector,
    pause,
    outcomes: createBankOutcomes(),
    onEvents: () => {},
  };
}

export async function openPlace(engine: Engine): Promise<{ storage: Storage; close(): Promise<void> }> {
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

export async function migrated(storage: Storage): Promise<void> {
  await migrate(storage, 0);
  await createLanes(storage);
}

/** Each item has a user of its own: refreshes of one user wait for one another, and that is not what is measured. */
export async function seed({ storage, vault }: RefreshServices, items: readonly number[]): Promise<void> {
  await migrated(storage);
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
          values (${APPLICATION}, 'bench', 'sandbox', 'bench', '', 0)`,
    );
    await tx.insertMany(
      'users',
      ['uuid', 'application_id', 'created_at'],
      items.map((id) => [user(id), APPLICATION, 0]),
    );
    for (const id of items) {
      const dataKeyId = await vault.createKey(tx, 0);
      const place = { table: 'items', column: 'credentials', id };
      const credentials = await vault.seal(tx, dataKeyId, place, JSON.stringify({ USER: 'bench', PWD: 'bench' }));
      const owner = { applicationId: APPLICATION, userUuid: user(id), bankId: BANK_ID };
      await insertItem(tx, { id, ...owner, dataKeyId, credentials, credentialsExpireAt: Date.now() + 3_600_000, createdAt: Date.now() });
    }
  });
}

export async function request(storage: Storage, items: readonly number[], phase: RefreshPhase): Promise<void> {
  const now = Date.now();
  const asked = items.map((id) => ({
    item: { id, applicationId: APPLICATION, userUuid: user(id) },
    ...({ cause: 'scheduler', phase, startedAt: now, runAt: now } as const),
  }));
  await storage.transaction((tx) => requestRefreshes(tx, asked));
}

/** `cpuMs`: of this process for one refresh, the bank of the benchmark included; steadier than the rate on a busy machine. */
export type Rate = { perSecond: number; cpuMs: number };

export async function oneRound(services: RefreshServices, items: readonly number[]): Promise<Rate> {
  await request(services.storage, items, 'incremental');
  return runAll(services, items.length);
}

/** Everything that waits, by the worker of a server. */
export async function runAll(services: RefreshServices, count: number): Promise<Rate> {
  let ended = 0;
  let worker: ReturnType<typeof startRefreshWorker> | undefined;
  const started = performance.now();
  const cpu = process.cpuUsage();
  await new Promise<void>((resolve, reject) => {
    const onEvents = () => {
      ended += 1;
      if (ended === count) resolve();
    };
    const log = {
      ...silentLog,
      error: (fields: Record<string, unknown>, message: string) => reject(new Error(message, { cause: fields.error })),
    };
    worker = startRefreshWorker({ ...services, onEvents, log });
  });
  const perSecond = (count / (performance.now() - started)) * 1_000;
  const { user: inCode, system } = process.cpuUsage(cpu);
  await worker?.stop(0);
  return { perSecond, cpuMs: (inCode + system) / 1_000 / count };
}

/**
 * The same statements without our code: what a refresh without changes reads and writes, as plain texts for one item after
 * another, as many at once as the worker runs.
 */
export async function bareRefreshes(storage: Storage, items: readonly number[]): Promise<number> {
  let next = 0;
  const work = async () => {
    while (next < items.length) {
      const id = items[next]!;
      next += 1;
      await bareRefresh(storage, id);
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: CONCURRENT_MAX }, work));
  return (items.length / (performance.now() - started)) * 1_000;
}

async function bareRefresh(storage: Storage, id: number): Promise<void> {
  const now = Date.now();
  const lane = laneOf(`item:${id}`);
  await storage.all(sql`select items.*, a.* from items left join accounts a on a.item_id = items.id where items.id = ${id} order by a.id`);
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`update refreshes set record = '{}', finished_at = ${now} where id = (select max(id) from refreshes where item_id = ${id})`,
    );
    await tx.run(sql`update users set last_event_at = last_event_at + 1 where uuid = ${user(id)}`);
    await tx.run(sql`update items set last_refreshed_at = ${now} where id = ${id}`);
    await tx.run(sql`update event_counts set item_refreshed = item_refreshed + 0 where item_id = ${id}`);
    const head = await tx.first<{ head: number }>(sql`update lane_heads set head = head + 1 where lane = ${lane} returning head`);
    await tx.run(sql`
      insert into events (segment, lane, seq, application_id, type, item_id, content, timestamp, committed_at)
      values (1, ${lane}, ${head!.head}, ${APPLICATION}, 'item.refreshed', ${id}, '{}', ${now}, ${now})`);
  });
}
