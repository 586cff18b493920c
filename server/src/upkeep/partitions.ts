/**
 * The log and its attempts stand in one partition for each segment on PostgreSQL. They are made before the segment is
 * written and go when retention has done with it. Every step is found again where a crash left it.
 */
import { type Sql, sql, sqlText } from '../storage/sql.ts';
import type { Reader, Storage } from '../storage/storage.ts';

const PARTITIONED = ['attempts', 'events'] as const;
type Parent = (typeof PARTITIONED)[number];

/** A table named as a partition is. `loose`: made and not yet attached, or detached and not yet dropped. */
type Partition = { parent: Parent; segment: number; state: 'attached' | 'detaching' | 'loose' };

export async function readPartitions(reader: Reader): Promise<Partition[]> {
  const rows = await reader.all<{ name: string; attached: number; detaching: number }>(
    sql`select c.relname::text as name, (i.inhrelid is not null)::int as attached, coalesce(i.inhdetachpending, false)::int as detaching
        from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_inherits i on i.inhrelid = c.oid
        where n.nspname = current_schema() and c.relkind = 'r' and c.relname ~ '^(attempts|events)_[0-9]+$'
        order by c.relname`,
  );
  return rows.map(({ name, attached, detaching }) => {
    const [parent, segment] = name.split('_') as [Parent, string];
    return { parent, segment: Number(segment), state: detaching === 1 ? 'detaching' : attached === 1 ? 'attached' : 'loose' };
  });
}

/** Sees to it that the segments from `from` to `through` have their partitions. False when that has to wait for the next round. */
export async function makePartitions(storage: Storage, from: number, through: number): Promise<boolean> {
  if (!storage.maintain) return true;
  const segments = Array.from({ length: through - from + 1 }, (_, index) => from + index);
  const missing = async () => {
    const there = await readPartitions(storage);
    const stateOf = (parent: Parent, segment: number) => there.find((one) => one.parent === parent && one.segment === segment)?.state;
    return segments
      .flatMap((segment) => PARTITIONED.map((parent) => ({ parent, segment, state: stateOf(parent, segment) })))
      .filter(({ state }) => state !== 'attached');
  };
  if ((await missing()).length === 0) return true;
  const made = await orLocked(
    storage.maintain(async (run) => {
      // Seen under the lock of maintenance: another node may have been at it.
      for (const { parent, segment, state } of await missing()) {
        // Made apart and then attached: `create table … partition of` would lock out every reader and writer of the log.
        if (state === undefined) await run(ddl(`create table ${parent}_${segment} (like ${parent} including all)`));
        await run(ddl(`alter table ${parent} attach partition ${parent}_${segment} for values in (${segment})`));
      }
    }),
  );
  return made !== 'busy' && made !== 'locked';
}

/** Takes away both partitions of a segment. False when that has to wait for the next round. */
export async function dropPartitions(storage: Storage, segment: number): Promise<boolean> {
  if (!storage.maintain) return true;
  const dropped = await orLocked(
    storage.maintain(async (run) => {
      for (const { parent, segment: number, state } of await readPartitions(storage)) {
        if (number !== segment) continue;
        const name = `${parent}_${segment}`;
        if (state === 'attached') await run(ddl(`alter table ${parent} detach partition ${name} concurrently`));
        if (state === 'detaching') await run(ddl(`alter table ${parent} detach partition ${name} finalize`));
        await run(ddl(`drop table ${name}`));
      }
    }),
  );
  return dropped !== 'busy' && dropped !== 'locked';
}

const LOCK_NOT_AVAILABLE = '55P03';

async function orLocked<T>(work: Promise<T>): Promise<T | 'locked'> {
  try {
    return await work;
  } catch (error) {
    if ((error as { code?: string }).code === LOCK_NOT_AVAILABLE) return 'locked';
    throw error;
  }
}

/** Names are of our own making: one of two words, and a whole number. */
function ddl(text: string): Sql {
  return sqlText(text);
}
