import { openPostgres } from './postgres.ts';
import { openSqlite } from './sqlite.ts';
import type { Storage } from './storage.ts';

export type StorageTarget = { databaseUrl: string } | { file: string };

/** `postgres://…` opens PostgreSQL; anything else is the path of the embedded database's file. */
export function openStorage(target: StorageTarget): Storage {
  return 'databaseUrl' in target ? openPostgres(target.databaseUrl) : openSqlite(target.file);
}
