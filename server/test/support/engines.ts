/** Opens fresh, migrated databases for tests, on every engine: SQLite in a temporary folder, PostgreSQL in a database of its own. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext } from 'node:test';
import { createLanes } from '../../src/events/log.ts';
import { migrate, migrations } from '../../src/storage/migrate.ts';
import { openStorage, type StorageTarget } from '../../src/storage/open.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { freshDatabase, startPostgres, templateDatabase } from './postgres.ts';

export type Engine = 'sqlite' | 'postgres';
export const ENGINES: readonly Engine[] = ['sqlite', 'postgres'];

/** One server per test process, or the one that the runner has started for all of them. */
let started: ReturnType<typeof startPostgres> | undefined;
function postgres(): ReturnType<typeof startPostgres> {
  started ??= startPostgres();
  return started;
}

/** Where an engine's empty database is, for tests that start servers of their own. */
export async function freshTarget(engine: Engine, t: TestContext): Promise<StorageTarget> {
  return engine === 'postgres' ? { databaseUrl: await freshDatabase((await postgres()).url) } : { file: freshFile(t) };
}

/** A copy of a database that was migrated once: each migration would take 0.4 s on PostgreSQL, of some 600 tests. */
export async function openEngine(engine: Engine, t: TestContext): Promise<Storage> {
  const storage = openStorage(await (engine === 'postgres' ? migratedDatabase() : migratedFile(t)));
  t.after(() => storage.close());
  return storage;
}

function freshFile(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'pontage.db');
}

async function migrated(target: StorageTarget): Promise<void> {
  const storage = openStorage(target);
  await migrate(storage, 0);
  await createLanes(storage);
  await storage.close();
}

/** Named by what it is made of: a server that outlives its tests may have others, of other versions of the code. */
const TEMPLATE = `migrated_${createHash('sha256').update(JSON.stringify(migrations())).digest('hex').slice(0, 16)}`;

let template: Promise<string> | undefined;

export async function migratedDatabase(): Promise<StorageTarget> {
  const { url } = await postgres();
  template ??= templateDatabase(url, TEMPLATE, (databaseUrl) => migrated({ databaseUrl }));
  return { databaseUrl: await freshDatabase(url, await template) };
}

let bytes: Promise<Buffer> | undefined;

async function migratedFile(t: TestContext): Promise<StorageTarget> {
  bytes ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pontage-'));
    const file = join(folder, 'pontage.db');
    await migrated({ file });
    const read = readFileSync(file);
    rmSync(folder, { recursive: true, force: true });
    return read;
  })();
  const file = freshFile(t);
  writeFileSync(file, await bytes);
  return { file };
}

/** Defines the same tests once for each engine. */
export function eachEngine(name: string, define: (open: (t: TestContext) => Promise<Storage>, engine: Engine) => void): void {
  for (const engine of ENGINES) suite(`${name} on ${engine}`, () => define((t) => openEngine(engine, t as TestContext), engine));
}
