/** Opens fresh, migrated databases for tests, on every engine: SQLite in a temporary folder, PostgreSQL in a database of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext } from 'node:test';
import { createLanes } from '../../src/events/log.ts';
import { migrate } from '../../src/storage/migrate.ts';
import { openStorage } from '../../src/storage/open.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { freshDatabase, startPostgres } from './postgres.ts';

export type Engine = 'sqlite' | 'postgres';
export const ENGINES: readonly Engine[] = ['sqlite', 'postgres'];

/** One server per test process, or the one that the runner has started for all of them. */
let started: ReturnType<typeof startPostgres> | undefined;
function postgres(): ReturnType<typeof startPostgres> {
  started ??= startPostgres();
  return started;
}

/** Where an engine's fresh database is, for tests that start servers of their own. */
export async function freshTarget(engine: Engine, t: TestContext): Promise<{ file: string } | { databaseUrl: string }> {
  if (engine === 'postgres') return { databaseUrl: await freshDatabase((await postgres()).url) };
  const folder = mkdtempSync(join(tmpdir(), 'pontage-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return { file: join(folder, 'pontage.db') };
}

export async function openEngine(engine: Engine, t: TestContext): Promise<Storage> {
  const target = await freshTarget(engine, t);
  const storage = openStorage(target);
  t.after(() => storage.close());
  await migrate(storage, 0);
  await createLanes(storage);
  return storage;
}

/** Defines the same tests once for each engine. */
export function eachEngine(name: string, define: (open: (t: TestContext) => Promise<Storage>, engine: Engine) => void): void {
  for (const engine of ENGINES) suite(`${name} on ${engine}`, () => define((t) => openEngine(engine, t as TestContext), engine));
}
