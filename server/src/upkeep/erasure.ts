/**
 * Erasure: an item or a user with everything that was theirs, in one transaction. Data keys go too, so that what a
 * backup still holds cannot be read. A running refresh is fenced because its row is gone. Events already in the log
 * keep their place and are still delivered: they hold ids and one balance, and receivers expect late ones (contract, 1.4).
 */
import { sql, sqlList } from '../storage/sql.ts';
import type { Storage, Writer } from '../storage/storage.ts';
import type { Vault } from '../vault/vault.ts';

type Keys = Pick<Vault, 'destroyKey'>;
type Locks = Pick<Storage, 'forUpdate'>;

/** False where there is no such item. */
export async function eraseItem(storage: Storage, vault: Keys, itemId: number): Promise<boolean> {
  return storage.transaction((tx) => deleteItemRows(tx, storage, vault, itemId));
}

/** False where there is no such user. */
export async function eraseUser(storage: Storage, vault: Keys, userUuid: string): Promise<boolean> {
  return storage.transaction((tx) => deleteUserRows(tx, storage, vault, userUuid));
}

/** Locks refreshes, then the item: the order in which a refresh takes them. */
export async function deleteItemRows(tx: Writer, locks: Locks, vault: Keys, itemId: number): Promise<boolean> {
  await tx.all(sql`select id from refreshes where item_id = ${itemId} order by id${locks.forUpdate}`);
  const item = await tx.first<{ data_key_id: string }>(sql`select data_key_id from items where id = ${itemId}${locks.forUpdate}`);
  if (!item) return false;
  const accounts = await tx.all<{ id: number }>(sql`select id from accounts where item_id = ${itemId} order by id`);
  for (const { id } of accounts) await tx.run(sql`delete from transactions where account_id = ${id}`);
  await tx.run(sql`delete from accounts where id in ${sqlList(accounts.map(({ id }) => id))}`);
  await tx.run(sql`delete from refreshes where item_id = ${itemId}`);
  await tx.run(sql`delete from connect_sessions where item_id = ${itemId}`);
  await tx.run(sql`delete from items where id = ${itemId}`);
  await vault.destroyKey(tx, item.data_key_id);
  return true;
}

export async function deleteUserRows(tx: Writer, locks: Locks, vault: Keys, userUuid: string): Promise<boolean> {
  await deleteItemsOf(tx, locks, vault, userUuid);
  const user = await tx.first(sql`select uuid from users where uuid = ${userUuid}${locks.forUpdate}`);
  if (!user) return false;
  // An item may have begun between the first look and the lock; none can begin now.
  await deleteItemsOf(tx, locks, vault, userUuid);
  await tx.run(sql`delete from access_tokens where user_uuid = ${userUuid}`);
  await tx.run(sql`delete from connect_sessions where user_uuid = ${userUuid}`);
  await tx.run(sql`delete from users where uuid = ${userUuid}`);
  return true;
}

async function deleteItemsOf(tx: Writer, locks: Locks, vault: Keys, userUuid: string): Promise<void> {
  const items = await tx.all<{ id: number }>(sql`select id from items where user_uuid = ${userUuid} order by id`);
  for (const { id } of items) await deleteItemRows(tx, locks, vault, id);
}
