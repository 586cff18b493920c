/**
 * Erasure, its first step: an item or a user goes with everything that is theirs, in one transaction that destroys the
 * data keys first, so that what a backup still holds cannot be read. A running refresh is fenced because its row is gone.
 * Of an item with many rows most have gone before (`thinning.ts`). What is left of them in the log, the attempts and at the bank
 * follows in `scrub.ts`, and the receipt stands in `erasures`.
 */
import { randomId } from '../base/random.ts';
import { eraseCounts, raiseErasures } from '../events/erase.ts';
import { laneOf } from '../events/log.ts';
import { sql, sqlList } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';
import type { Vault } from '../vault/vault.ts';
import { findBrokenOff, isLarge, type ThinningServices, thinOut } from './thinning.ts';

type Keys = Pick<Vault, 'destroyKey'>;
type Services = ThinningServices;

/**
 * An item on its way out: how far its lane has been gone through, up to the head at its erasure. It is gone through twice,
 * because what was under way at the first time may have left an attempt since.
 */
export type ItemWork = {
  itemId: number;
  bankId: number;
  lane: number;
  position: number;
  through: number;
  look: 'first' | 'second';
  bankTold: boolean;
};
export type Counts = { items: number; accounts: number; transactions: number; refreshes: number; events: number; attempts: number };
export type Erasure = {
  id: string;
  applicationId: string;
  kind: 'item' | 'user';
  state: 'running' | 'done';
  counts: Counts;
  /** Real time. */
  requestedAt: number;
  finishedAt: number | null;
};

const NOTHING: Counts = { items: 0, accounts: 0, transactions: 0, refreshes: 0, events: 0, attempts: 0 };

/** Answers the id of the receipt; null where there is no such item. */
export async function eraseItem(services: Services, itemId: number): Promise<string | null> {
  const { storage, vault, now } = services;
  if (await isLarge(storage, itemId)) await thinOut(services, itemId);
  return storage.transaction(async (tx) => {
    const erased = await eraseItemRows(tx, storage, vault, itemId);
    return erased && record(tx, 'item', erased.applicationId, [erased], now);
  });
}

/** Answers the id of the receipt; null where there is no such user. */
export async function eraseUser(services: Services, userUuid: string): Promise<string | null> {
  const { storage, vault, now } = services;
  await thinOutUser(services, userUuid);
  return storage.transaction(async (tx) => {
    const erased = await eraseItemsOf(tx, storage, vault, userUuid);
    const user = await tx.first<{ application_id: string }>(
      sql`select application_id from users where uuid = ${userUuid}${storage.forUpdate}`,
    );
    if (!user) return null;
    // An item may have begun between the first look and the lock; none can begin now.
    erased.push(...(await eraseItemsOf(tx, storage, vault, userUuid)));
    await tx.run(sql`delete from access_tokens where user_uuid = ${userUuid}`);
    await tx.run(sql`delete from connect_sessions where user_uuid = ${userUuid}`);
    await tx.run(sql`delete from users where uuid = ${userUuid}`);
    return record(tx, 'user', user.application_id, erased, now);
  });
}

/** The user is marked before the first item is: whoever goes on with this erases all of them. */
async function thinOutUser(services: Services, userUuid: string): Promise<void> {
  const { storage, now } = services;
  for (const { id } of await itemsOf(storage, userUuid)) {
    if (!(await isLarge(storage, id))) continue;
    await storage.alone.run(sql`update users set erasing_at = ${now} where uuid = ${userUuid}`);
    await thinOut(services, id);
  }
}

/** Ends what a process that died had begun; answers how many users and items that were. */
export async function resumeErasures(services: Services): Promise<number> {
  const { users, items } = await findBrokenOff(services.storage, services.now);
  for (const uuid of users) await eraseUser(services, uuid);
  for (const id of items) await eraseItem(services, id);
  return users.length + items.length;
}

function itemsOf(reader: Reader, userUuid: string): Promise<{ id: number }[]> {
  return reader.all<{ id: number }>(sql`select id from items where user_uuid = ${userUuid} order by id`);
}

type ErasedItem = { applicationId: string; itemId: number; bankId: number; counts: Counts };

/** Locks refreshes, then the item: the order in which a refresh takes them. */
async function eraseItemRows(tx: Writer, locks: Pick<Storage, 'forUpdate'>, vault: Keys, itemId: number): Promise<ErasedItem | null> {
  await tx.all(sql`select id from refreshes where item_id = ${itemId} order by id${locks.forUpdate}`);
  const item = await tx.first<{ data_key_id: string; application_id: string; bank_id: number; erased_rows: number }>(
    sql`select data_key_id, application_id, bank_id, erased_rows from items where id = ${itemId}${locks.forUpdate}`,
  );
  if (!item) return null;
  await vault.destroyKey(tx, item.data_key_id);
  const accounts = (await tx.all<{ id: number }>(sql`select id from accounts where item_id = ${itemId} order by id`)).map(({ id }) => id);
  let transactions = item.erased_rows;
  for (const id of accounts) transactions += await tx.run(sql`delete from transactions where account_id = ${id}`);
  await tx.run(sql`delete from accounts where id in ${sqlList(accounts)}`);
  const refreshes = await tx.run(sql`delete from refreshes where item_id = ${itemId}`);
  await tx.run(sql`delete from connect_sessions where item_id = ${itemId}`);
  await tx.run(sql`delete from items where id = ${itemId}`);
  // Its bank may be suspended, and wait for what this item finds out: at `probe_at` another one asks.
  await tx.run(sql`update bank_circuits set probe_item_id = null where probe_item_id = ${itemId}`);
  await eraseCounts(tx, [itemId]);
  const counts = { ...NOTHING, items: 1, accounts: accounts.length, transactions, refreshes };
  return { applicationId: item.application_id, itemId, bankId: item.bank_id, counts };
}

async function eraseItemsOf(tx: Writer, locks: Pick<Storage, 'forUpdate'>, vault: Keys, userUuid: string): Promise<ErasedItem[]> {
  const items = await itemsOf(tx, userUuid);
  const erased: ErasedItem[] = [];
  for (const { id } of items) {
    const item = await eraseItemRows(tx, locks, vault, id);
    if (item) erased.push(item);
  }
  return erased;
}

/** Any event of theirs is committed by now, since its writer held the item's refresh or row: the heads bound what is to be gone through. */
async function record(
  tx: Writer,
  kind: Erasure['kind'],
  applicationId: string,
  items: readonly ErasedItem[],
  now: number,
): Promise<string> {
  const id = randomId('era');
  const heads = new Map(
    (await tx.all<{ lane: number; head: number }>(sql`select lane, head from lane_heads`)).map(({ lane, head }) => [lane, head]),
  );
  const work = items.map(({ itemId, bankId }): ItemWork => {
    const lane = laneOf(`item:${itemId}`);
    return { itemId, bankId, lane, position: 0, through: heads.get(lane) ?? 0, look: 'first', bankTold: false };
  });
  const counts = items.map((item) => item.counts).reduce(added, NOTHING);
  await tx.run(sql`
    insert into erasures (id, application_id, kind, state, work, counts, requested_at)
    values (${id}, ${applicationId}, ${kind}, 'running', ${JSON.stringify(work)}, ${JSON.stringify(counts)}, ${now})`);
  await raiseErasures(tx);
  return id;
}

export function added(a: Counts, b: Counts): Counts {
  return {
    items: a.items + b.items,
    accounts: a.accounts + b.accounts,
    transactions: a.transactions + b.transactions,
    refreshes: a.refreshes + b.refreshes,
    events: a.events + b.events,
    attempts: a.attempts + b.attempts,
  };
}

/** The receipt of an application's erasure, under way or done. */
export async function findErasure(reader: Reader, applicationId: string, id: string): Promise<Erasure | null> {
  const row = await reader.first<{
    id: string;
    kind: Erasure['kind'];
    state: Erasure['state'];
    counts: string;
    requested_at: number;
    finished_at: number | null;
  }>(sql`select id, kind, state, counts, requested_at, finished_at from erasures where id = ${id} and application_id = ${applicationId}`);
  return (
    (row && {
      id: row.id,
      applicationId,
      kind: row.kind,
      state: row.state,
      counts: JSON.parse(row.counts) as Counts,
      requestedAt: row.requested_at,
      finishedAt: row.finished_at,
    }) ??
    null
  );
}
