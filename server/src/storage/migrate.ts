import { readdirSync, readFileSync } from 'node:fs';
import { sql, sqlText } from './sql.ts';
import type { Storage, Writer } from './storage.ts';

const FOLDER = new URL('./migrations/', import.meta.url);
/** Any constant will do, as long as nobody else locks it: the letters of "pontage" as a number. */
const ADVISORY_LOCK = 7_069_110_116;

export type Migration = { version: number; name: string; engine: Storage['engine'] | null; text: string };

/** `0001_name.sql` for both engines, `0001_name.sqlite.sql` or `0001_name.postgres.sql` for one. */
const FILE = /^(?<version>\d{4})_(?<name>[a-z_]+)(?:\.(?<engine>sqlite|postgres))?\.sql$/;

/** In order; `engine` is null for what both get. Forward only: a migration that has landed is never edited. */
export function migrations(): Migration[] {
  return readdirSync(FOLDER)
    .sort()
    .map((file) => {
      const { version, name = '', engine = null } = FILE.exec(file)?.groups ?? {};
      if (version === undefined) throw new Error(`${file} is no name of a migration`);
      const text = readFileSync(new URL(file, FOLDER), 'utf8');
      return { version: Number(version), name, engine: engine as Migration['engine'], text };
    });
}

/** Brings the schema up to date, in one transaction, under a lock; answers the names of what was applied. */
export async function migrate(storage: Storage, now: number): Promise<string[]> {
  const apply = async (tx: Writer) => {
    if (storage.engine === 'postgres') await tx.all(sql`select pg_advisory_xact_lock(${ADVISORY_LOCK})`);
    await tx.run(sql`create table if not exists migrations (version bigint primary key, name text not null, applied_at bigint not null)`);
    const done = await tx.all<{ version: number }>(sql`select version from migrations order by version`);
    const latest = done.at(-1)?.version ?? 0;
    const known = migrations();
    const newest = known.at(-1)?.version ?? 0;
    if (latest > newest)
      throw new Error(
        `the database was written by a newer Pontage (schema ${latest}, this one knows ${newest}): run that version or restore a backup`,
      );
    const applied: string[] = [];
    for (const migration of known.filter(({ version }) => version > latest)) {
      const text = migration.engine === null || migration.engine === storage.engine ? migration.text : '';
      for (const statement of text.split(/;\s*$/m)) {
        if (statement.replace(/^\s*--.*$/gm, '').trim()) await tx.run(sqlText(statement));
      }
      await tx.run(
        sql`insert into migrations (version, name, applied_at) values (${migration.version}, ${migration.name}, ${now}) on conflict do nothing`,
      );
      if (text !== '') applied.push(migration.name);
    }
    return applied;
  };
  return storage.transaction(apply, { patient: true });
}
