/** What can be asked of a database before its schema is known, or when something is wrong with it; each engine in its own words. */
import { sql } from './sql.ts';
import type { Storage } from './storage.ts';

export async function hasTable(storage: Storage, name: string): Promise<boolean> {
  const query =
    storage.engine === 'sqlite'
      ? sql`select name from sqlite_master where type = 'table' and name = ${name}`
      : sql`select to_regclass(${name})::text as name`;
  const found = await storage.first<{ name: string | null }>(query);
  return Boolean(found?.name);
}

/** What is wrong with an embedded database's file, or null. A database of its own server looks after its files itself. */
export async function findDamage(storage: Storage): Promise<string | null> {
  if (storage.engine !== 'sqlite') return null;
  const row = await storage.first<{ quick_check: string }>(sql`pragma quick_check(1)`);
  return row?.quick_check === 'ok' ? null : (row?.quick_check ?? 'no answer');
}
