/** The database of a configuration: opened, its schema looked at and brought up to date. */
import { accessSync, constants, mkdirSync } from 'node:fs';
import { systemClock } from './base/clock.ts';
import { type Config, databaseFile, OperatorError } from './config.ts';
import { createLanes } from './events/log.ts';
import { hasTable } from './storage/checks.ts';
import { migrate, migrations } from './storage/migrate.ts';
import { openStorage } from './storage/open.ts';
import { sql } from './storage/sql.ts';
import type { Storage } from './storage/storage.ts';

/** Readable for the owner alone. Throws {@link OperatorError}. */
export function makeDataFolder({ dataDir }: Config): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    accessSync(dataDir, constants.W_OK);
  } catch (error) {
    throw new OperatorError(
      `The data folder ${dataDir} cannot be used (${(error as Error).message}): choose another with PONTAGE_DATA_DIR.`,
    );
  }
}

/** Opens the database as it is, making the data folder where there is none. Throws {@link OperatorError} where it cannot. */
export function openDatabase(config: Config): Storage {
  makeDataFolder(config);
  try {
    return openStorage(config.databaseUrl === null ? { file: databaseFile(config) } : { databaseUrl: config.databaseUrl });
  } catch (error) {
    throw new OperatorError(
      `The database ${databaseFile(config)} cannot be opened: ${(error as Error).message}. Check the folder and its rights.`,
    );
  }
}

/** The schema's version; 0 of an empty database. Throws {@link OperatorError} where no database answers. */
export async function schemaVersion(storage: Storage): Promise<number> {
  try {
    if (!(await hasTable(storage, 'migrations'))) return 0;
    const row = await storage.first<{ version: number | null }>(sql`select max(version) as version from migrations`);
    return row?.version ?? 0;
  } catch (error) {
    throw unreachable(storage, error);
  }
}

function unreachable(storage: Storage, error: unknown): OperatorError {
  const reason = (error as Error).message || String((error as NodeJS.ErrnoException).code);
  return new OperatorError(
    storage.shared
      ? `PostgreSQL does not answer (${reason}): check DATABASE_URL, and that the database is running.`
      : `The database file cannot be used (${reason}): restore a backup with: npx pontage restore FILE`,
  );
}

/** The newest schema that this version knows. */
export const newestSchema = (): number => migrations().at(-1)?.version ?? 0;

/**
 * Brings the schema up to date: `always` for servers, `when empty` for commands, so that a newer command never
 * changes the schema under an older server. Throws {@link OperatorError}.
 */
export async function prepareSchema(storage: Storage, when: 'always' | 'when empty'): Promise<string[]> {
  const version = await schemaVersion(storage);
  const newest = newestSchema();
  if (version > newest) {
    throw new OperatorError(`The database was written by a newer Pontage (schema ${version}, this one knows ${newest}): run that version.`);
  }
  if (version < newest && version > 0 && when === 'when empty') {
    throw new OperatorError(
      `The database has schema ${version}, this version needs ${newest}: run npx pontage migrate, or restart the server.`,
    );
  }
  const applied = version < newest ? await migrate(storage, systemClock.now()) : [];
  if (applied.length > 0 || when === 'always') await createLanes(storage);
  return applied;
}
