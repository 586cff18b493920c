/**
 * What a refresh costs us, beside the bank's own time: refreshes per second through the real worker, with nothing changed
 * and with 5 % of the rows changed, beside as many transactions that change one row; and the statements of one refresh.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { createLanes } from '../src/events/log.ts';
import { insertItem } from '../src/items/items.ts';
import { claimRefreshes, type RefreshPhase, requestRefresh } from '../src/items/refreshes.ts';
import { type RefreshServices, runRefresh } from '../src/refresh/run.ts';
import { createBankOutcomes } from '../src/refresh/schedule/circuits.ts';
import { CONCURRENT_MAX, startRefreshWorker } from '../src/refresh/worker.ts';
import { createCounters } from '../src/storage/counters.ts';
import { migrate } from '../src/storage/migrate.ts';
import { openStorage } from '../src/storage/open.ts';
import { sql } from '../src/storage/sql.ts';
import type { Storage, Writer } from '../src/storage/storage.ts';
import { silentLog } from '../src/telemetry/log.ts';
import { createVault, deriveWrappingKey } from '../src/vault/vault.ts';
import { freshDatabase, startPostgres } from '../test/support/postgres.ts';
import type { Figure } from './delivery.ts';
import { BANK_ID, type BenchBank, benchBank } from './refresh-bank.ts';

type Engine = 'sqlite' | 'postgres';

const APPLICATION = 'app_bench';
const FIRST_ITEM = 4_568_000;
const SIZES = { full: { rounds: 5, items: 400, idleRounds: 3 }, short: { rounds: 3, items: 150, idleRounds: 2 } } as const;
const LIMITS = { unchanged: { sqlite: 1_000, postgres: 500 }, changed: { sqlite: 200, postgres: 150 } } as const;
/** The figure of the promise: an unchanged refresh reads at most three times. */
const READS_BELOW = 4;

const user = (itemId: number) => `766b2f5d-a942-492c-9ea7-2e5aa8${String(itemId - FIRST_ITEM).padStart(6, '0')}`;

export async function runRefreshBench({ engine, short }: { engine: Engine; short: boolean }): Promise<Figure[]> {
  const size = short ? SIZES.short : SIZES.full;
  const place = await openPlace(engine);
  try {
    const { storage } = place;
    const bank = benchBank(Date.now());
    const services = servicesOf(storage, bank);
    const items = Array.from({ length: size.items }, (_, index) => FIRST_ITEM + index);
    await seed(services, items);
    await request(storage, items, 'full');
    await runAll(services, items.length);

    const unchanged: Rate[] = [];
    const changed: Rate[] = [];
    const bareRates: number[] = [];
    for (let round = 0; round < size.rounds; round += 1) {
      bareRates.push(await bareTransactions(storage, items));
      for (let idle = 0; idle < size.idleRounds; idle += 1) unchanged.push(await oneRound(services, items));
      bank.change();
      changed.push(await oneRound(services, items));
    }
    const bare = median(bareRates);
    return [
      {
        name: `refreshes without changes, ${engine}`,
        value: median(unchanged.map(({ perSecond }) => perSecond)),
        unit: '/s',
        peer: bare,
        limit: { atLeast: LIMITS.unchanged[engine] },
      },
      {
        name: `refreshes with 5 % of rows changed, ${engine}`,
        value: median(changed.map(({ perSecond }) => perSecond)),
        unit: '/s',
        peer: bare,
        limit: { atLeast: LIMITS.changed[engine] },
      },
      { name: `processor time of one without changes, ${engine}`, value: median(unchanged.map(({ cpuMs }) => cpuMs)), unit: 'ms' },
      { name: `processor time of one with changes, ${engine}`, value: median(changed.map(({ cpuMs }) => cpuMs)), unit: 'ms' },
      ...(await statements(services, bank, items[0]!, engine)),
    ];
  } finally {
    await place.close();
  }
}

function servicesOf(storage: Storage, { connector }: BenchBank): RefreshServices {
  const key = deriveWrappingKey('a key for the benchmark, of no use elsewhere');
  return {
    storage,
    vault: createVault(() => ({ current: key, all: [key] })),
    counters: createCounters(storage),
    clock: systemClock,
    log: silentLog,
    connector: () => connector,
    outcomes: createBankOutcomes(),
    onEvents: () => {},
  };
}

async function openPlace(engine: Engine): Promise<{ storage: Storage; close(): Promise<void> }> {
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

/** Each item has a user of its own: refreshes of one user wait for one another, and that is not what is measured. */
async function seed({ storage, vault }: RefreshServices, items: readonly number[]): Promise<void> {
  await migrate(storage, 0);
  await createLanes(storage);
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

async function request(storage: Storage, items: readonly number[], phase: RefreshPhase): Promise<void> {
  await storage.transaction(async (tx) => {
    const now = Date.now();
    for (const id of items) {
      const item = { id, applicationId: APPLICATION, userUuid: user(id) };
      await requestRefresh(tx, { item, cause: 'scheduler', phase, startedAt: now, runAt: now });
    }
  });
}

/** `cpuMs`: of this process for one refresh, the bank of the benchmark included; steadier than the rate on a busy machine. */
type Rate = { perSecond: number; cpuMs: number };

async function oneRound(services: RefreshServices, items: readonly number[]): Promise<Rate> {
  await request(services.storage, items, 'incremental');
  return runAll(services, items.length);
}

/** Everything that waits, by the worker of a server. */
async function runAll(services: RefreshServices, count: number): Promise<Rate> {
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

/** The least that a durable change can cost: a transaction that changes one row, as many at once as the worker runs. */
async function bareTransactions(storage: Storage, items: readonly number[]): Promise<number> {
  let next = 0;
  const change = async () => {
    while (next < items.length) {
      const id = items[next]!;
      next += 1;
      await storage.transaction((tx) => tx.run(sql`update users set last_event_at = last_event_at + 1 where uuid = ${user(id)}`));
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: CONCURRENT_MAX }, change));
  return (items.length / (performance.now() - started)) * 1_000;
}

/** One refresh of each kind, its statements counted from the claimed record to the commit. */
async function statements(services: RefreshServices, bank: BenchBank, itemId: number, engine: Engine): Promise<Figure[]> {
  const unchanged = await countedRun(services, itemId);
  bank.change();
  const changed = await countedRun(services, itemId);
  return [
    { name: `reads of an unchanged refresh, ${engine}`, value: unchanged.reads, unit: '', limit: { below: READS_BELOW } },
    { name: `statements of its one transaction, ${engine}`, value: unchanged.writes, unit: '' },
    { name: `reads of a changed refresh, ${engine}`, value: changed.reads, unit: '', limit: { below: READS_BELOW } },
    { name: `statements of its one transaction, changed, ${engine}`, value: changed.writes, unit: '' },
  ];
}

async function countedRun(services: RefreshServices, itemId: number): Promise<{ reads: number; writes: number }> {
  const { storage } = services;
  await request(storage, [itemId], 'incremental');
  const [refresh] = await storage.transaction((tx) => claimRefreshes(tx, storage, { now: Date.now(), leaseMs: 60_000, limit: 1 }));
  const { storage: counting, counts } = countingStorage(storage);
  await runRefresh({ ...services, storage: counting }, refresh!, new AbortController().signal);
  return counts;
}

/** `writes` counts every statement inside transactions, their reads too; a batch of inserted rows is one. */
function countingStorage(storage: Storage): { storage: Storage; counts: { reads: number; writes: number } } {
  const counts = { reads: 0, writes: 0 };
  const read = <T>(answer: T): T => {
    counts.reads += 1;
    return answer;
  };
  const written = <T>(answer: T): T => {
    counts.writes += 1;
    return answer;
  };
  const writer = (tx: Writer): Writer => ({
    all: (query) => written(tx.all(query)),
    first: (query) => written(tx.first(query)),
    run: (query) => written(tx.run(query)),
    insertMany: (table, columns, rows, tail) =>
      rows.length === 0 ? tx.insertMany(table, columns, rows, tail) : written(tx.insertMany(table, columns, rows, tail)),
  });
  return {
    counts,
    storage: {
      ...storage,
      all: (query) => read(storage.all(query)),
      first: (query) => read(storage.first(query)),
      transaction: (work) => storage.transaction((tx) => work(writer(tx))),
    },
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
