import { openPostgres } from './postgres.ts';
import { openSqlite } from './sqlite.ts';
import type { Storage } from './storage.ts';

/** `postgres://…` opens PostgreSQL; anything else is the path of the embedded database's file. */
export function openStorage(target: { databaseUrl: string } | { file: string }): Storage {
  return 'databaseUrl' in target ? openPostgres(target.databaseUrl) : openSqlite(target.file);
}
