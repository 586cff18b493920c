/**
 * Erasure, before its one transaction: what is large goes in small steps, so that nobody waits for the erasing of others. It
 * begins with what cannot be taken back, the data key and whatever runs, and stands on the item's row: where a step was the last
 * of its process, the erasure is begun again, and ends.
 */
import { MINUTE_MS } from '../base/clock.ts';
import { sql, sqlList } from '../storage/sql.ts';
import type { Reader, Storage } from '../storage/storage.ts';
import type { Vault } from '../vault/vault.ts';

/** Of one step, some 10 ms of SQLite's thread. An item with fewer rows goes as a whole. */
export const ROWS_PER_STEP = 500;
/** Whoever was at it for longer has died over it. A million rows take less. */
const BROKEN_OFF_AFTER_MS = 5 * MINUTE_MS;

export type ThinningServices = {
  storage: Storage;
  vault: Pick<Vault, 'destroyKey'>;
  now: number;
  /** Between two steps; a millisecond when absent. */
  pause?: () => Promise<void>;
};

export async function isLarge(reader: Reader, itemId: number): Promise<boolean> {
  const found = await reader.first<{ transactions: number; changes: number }>(sql`
    select (select count(*) from (select 1 as one from transactions t join accounts a on a.id = t.account_id
        where a.item_id = ${itemId} limit ${ROWS_PER_STEP}) as counted) as transactions,
      (select count(*) from (select 1 as one from changes c join refreshes r on r.id = c.refresh_id
        where r.item_id = ${itemId} limit ${ROWS_PER_STEP}) as counted) as changes`);
  return found !== undefined && Math.max(found.transactions, found.changes) >= ROWS_PER_STEP;
}

/** Takes the transactions and the reasons of a large item; what is left is small. */
export async function thinOut(services: ThinningServices, itemId: number): Promise<void> {
  const { storage, pause = () => new Promise<void>((resolve) => setTimeout(resolve, 1)) } = services;
  if (!(await begin(services, itemId))) return;
  const accounts = await storage.all<{ id: number }>(sql`select id from accounts where item_id = ${itemId} order by id`);
  for (const { id } of accounts) await takeTransactions(storage, itemId, id, pause);
  await takeChanges(storage, itemId, pause);
}

/** No refresh of it runs or begins any more, and none that ran can write. False where there is no such item. */
async function begin({ storage, vault, now }: ThinningServices, itemId: number): Promise<boolean> {
  return storage.transaction(async (tx) => {
    await tx.all(sql`select id from refreshes where item_id = ${itemId} order by id${storage.forUpdate}`);
    const item = await tx.first<{ data_key_id: string }>(sql`select data_key_id from items where id = ${itemId}${storage.forUpdate}`);
    if (!item) return false;
    await vault.destroyKey(tx, item.data_key_id);
    await tx.run(sql`delete from refreshes where item_id = ${itemId} and finished_at is null`);
    await tx.run(sql`delete from connect_sessions where item_id = ${itemId}`);
    await tx.run(sql`update items set erasing_at = ${now}, due_at = null where id = ${itemId}`);
    return true;
  });
}

/** In the order of their index and beyond what went before: PostgreSQL would read all that is deleted once more for each step. */
async function takeTransactions(storage: Storage, itemId: number, accountId: number, pause: () => Promise<void>): Promise<void> {
  for (let after = { date: '', id: 0 }; ; await pause()) {
    const rows = await storage.all<{ date: string; id: number }>(sql`
      select date, id from transactions where account_id = ${accountId} and (date, id) > (${after.date}, ${after.id})
      order by date, id limit ${ROWS_PER_STEP}`);
    const last = rows.at(-1);
    if (!last) return;
    await storage.transaction(async (tx) => {
      const deleted = await tx.run(sql`delete from transactions where id in ${sqlList(rows.map(({ id }) => id))}`);
      await tx.run(sql`update items set erased_rows = erased_rows + ${deleted} where id = ${itemId}`);
    });
    after = last;
  }
}

/** Of many refreshes at once where each has few. */
async function takeChanges(storage: Storage, itemId: number, pause: () => Promise<void>): Promise<void> {
  const counted = await storage.all<{ id: string; rows: number }>(sql`
    select c.refresh_id as id, count(*) as rows from changes c join refreshes r on r.id = c.refresh_id where r.item_id = ${itemId} group by c.refresh_id`);
  for (const { id, rows } of counted.filter(({ rows }) => rows >= ROWS_PER_STEP)) {
    for (let left = rows; left > 0; left -= ROWS_PER_STEP, await pause()) {
      await storage.transaction((tx) =>
        tx.run(sql`
          delete from changes where refresh_id = ${id} and (account_id, n) in (
            select account_id, n from changes where refresh_id = ${id} limit ${ROWS_PER_STEP})`),
      );
    }
  }
  const group: string[] = [];
  let rowsOfGroup = 0;
  const takeGroup = async () => {
    const ids = sqlList(group.splice(0));
    rowsOfGroup = 0;
    await storage.transaction((tx) => tx.run(sql`delete from changes where refresh_id in ${ids}`));
    await pause();
  };
  for (const { id, rows } of counted.filter(({ rows }) => rows < ROWS_PER_STEP)) {
    if (rowsOfGroup + rows > ROWS_PER_STEP) await takeGroup();
    group.push(id);
    rowsOfGroup += rows;
  }
  if (group.length > 0) await takeGroup();
}

export type BrokenOff = { users: string[]; items: number[] };

/** Erasures that nobody is at any more, although they have not ended. */
export async function findBrokenOff(reader: Reader, now: number): Promise<BrokenOff> {
  const before = now - BROKEN_OFF_AFTER_MS;
  const users = await reader.all<{ uuid: string }>(sql`select uuid from users where erasing_at <= ${before}`);
  const items = await reader.all<{ id: number }>(sql`select id from items where erasing_at <= ${before}`);
  return { users: users.map(({ uuid }) => uuid), items: items.map(({ id }) => id) };
}
