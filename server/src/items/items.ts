/** Items: the connection of a user to a bank. Writes; the reading of the wire is in `read.ts`. */
import { sql, sqlList, sqlTable } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';

export type Item = {
  id: number;
  applicationId: string;
  userUuid: string;
  bankId: number;
  status: number;
  statusCodeInfo: string | null;
  dataKeyId: string;
  credentials: string | null;
  connectorState: string | null;
  connectedOnce: boolean;
  historyComplete: boolean;
  fullRefreshWanted: boolean;
  refreshCount: number;
  /** What the scheduler remembers of it: JSON of `refresh/schedule`. */
  schedule: string;
  /** The application's clock; null where the bank names no end. */
  consentExpiresAt: number | null;
  createdAt: number;
};

export const JUST_ADDED = -2;
export const JUST_EDITED = -3;

/** A row of the table, for those who read it with a statement of their own. */
export type ItemRow = {
  id: number;
  application_id: string;
  user_uuid: string;
  bank_id: number;
  status: number;
  status_code_info: string | null;
  data_key_id: string;
  credentials: string | null;
  connector_state: string | null;
  connected_once: number;
  history_complete: number;
  full_refresh_wanted: number;
  refresh_count: number;
  schedule: string;
  consent_expires_at: number | null;
  created_at: number;
};

export function itemFromRow(row: ItemRow): Item {
  return {
    id: row.id,
    applicationId: row.application_id,
    userUuid: row.user_uuid,
    bankId: row.bank_id,
    status: row.status,
    statusCodeInfo: row.status_code_info,
    dataKeyId: row.data_key_id,
    credentials: row.credentials,
    connectorState: row.connector_state,
    connectedOnce: row.connected_once === 1,
    historyComplete: row.history_complete === 1,
    fullRefreshWanted: row.full_refresh_wanted === 1,
    refreshCount: row.refresh_count,
    schedule: row.schedule,
    consentExpiresAt: row.consent_expires_at,
    createdAt: row.created_at,
  };
}

export async function findItem(reader: Reader, itemId: number): Promise<Item | null> {
  const row = await reader.first<ItemRow>(sql`select * from items where id = ${itemId}`);
  return row ? itemFromRow(row) : null;
}

/** Whether the item is there, and stays until this transaction ends. Who holds a user too holds the item first, as an erasure does. */
export async function holdItem(tx: Writer, locks: Pick<Storage, 'forUpdate'>, itemId: number): Promise<boolean> {
  return (await tx.first(sql`select id from items where id = ${itemId}${locks.forUpdate}`)) !== undefined;
}

export type NewItem = {
  id: number;
  applicationId: string;
  userUuid: string;
  bankId: number;
  dataKeyId: string;
  credentials: string;
  credentialsExpireAt: number;
  /** The application's clock. */
  createdAt: number;
};

export async function insertItem(tx: Writer, item: NewItem): Promise<void> {
  await tx.run(sql`
    insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, credentials, credentials_expire_at, created_at)
    values (${item.id}, ${item.applicationId}, ${item.userUuid}, ${item.bankId}, ${JUST_ADDED}, ${item.dataKeyId}, ${item.credentials},
            ${item.credentialsExpireAt}, ${item.createdAt})`);
}

/**
 * New credentials of an item that exists; they expire like those of a first connection until one refresh has succeeded. What
 * they show may be more than before: the whole history is looked at again. Before the first success they may be another login's,
 * with which nothing of the one before goes on.
 */
export async function replaceCredentials(
  tx: Writer,
  itemId: number,
  sealed: string,
  expireAt: number,
  connectedOnce: boolean,
): Promise<void> {
  await tx.run(sql`
    update items set credentials = ${sealed}, status = ${connectedOnce ? JUST_EDITED : JUST_ADDED}, status_code_info = null,
      credentials_expire_at = ${connectedOnce ? null : expireAt}, full_refresh_wanted = ${connectedOnce ? 1 : 0},
      connector_state = case when connected_once = 1 then connector_state end,
      consent_expires_at = case when connected_once = 1 then consent_expires_at end
    where id = ${itemId}`);
}

/** What the scheduler remembers, where a refresh has not ended yet. */
export async function rememberSchedule(tx: Writer, itemId: number, schedule: string): Promise<void> {
  await tx.run(sql`update items set schedule = ${schedule} where id = ${itemId}`);
}

/** What a login has brought, where its refresh has not ended yet. */
export async function rememberLogin(
  tx: Writer,
  itemId: number,
  { connectorState, consentExpiresAt }: Pick<Item, 'connectorState' | 'consentExpiresAt'>,
): Promise<void> {
  await tx.run(sql`update items set connector_state = ${connectorState}, consent_expires_at = ${consentExpiresAt} where id = ${itemId}`);
}

/** What a finished refresh leaves on its item. */
export type RefreshedItem = {
  id: number;
  status: number;
  statusCodeInfo: string | null;
  /** The credentials have let us in, and an account was shown. */
  connected: boolean;
  historyComplete: boolean;
  fullRefreshWanted: boolean;
  /** The refresh began without a wish for a full one, and is none: a wish that came meanwhile is not its to fulfil. */
  keepsFullWish: boolean;
  connectorState: string | null;
  /** The application's clock; null where the user must act first. */
  dueAt: number | null;
  schedule: string;
  consentExpiresAt: number | null;
  refreshedAt: number;
  /** How many it counts as: none for the second half of a first connection. */
  refreshes: number;
  /** The `updated_at` of its live accounts; null where they were not refreshed. */
  accountsUpdatedAt: number | null;
};

const refreshedTable = sqlTable({
  item_id: 'bigint',
  new_status: 'bigint',
  new_info: 'text',
  connected: 'bigint',
  complete: 'bigint',
  full_wanted: 'bigint',
  keeps_wish: 'bigint',
  new_state: 'text',
  counted: 'bigint',
  refreshed_at: 'bigint',
  new_schedule: 'text',
  consent_until: 'bigint',
  next_due_at: 'bigint',
  accounts_at: 'bigint',
});

export async function updateRefreshedItems(tx: Writer, items: readonly RefreshedItem[]): Promise<void> {
  const refreshed = refreshedTable(
    items.map((item) => ({
      item_id: item.id,
      new_status: item.status,
      new_info: item.statusCodeInfo,
      connected: item.connected ? 1 : 0,
      complete: item.historyComplete ? 1 : 0,
      full_wanted: item.fullRefreshWanted ? 1 : 0,
      keeps_wish: item.keepsFullWish ? 1 : 0,
      new_state: item.connectorState,
      counted: item.refreshes,
      refreshed_at: item.refreshedAt,
      new_schedule: item.schedule,
      consent_until: item.consentExpiresAt,
      next_due_at: item.dueAt,
      accounts_at: item.accountsUpdatedAt,
    })),
  );
  await tx.run(sql`
    update items set status = new_status, status_code_info = new_info,
      connected_once = case when connected = 1 then 1 else connected_once end,
      credentials_expire_at = case when connected = 1 then null else credentials_expire_at end,
      history_complete = case when complete = 1 then 1 else history_complete end,
      full_refresh_wanted = case when keeps_wish = 1 and full_refresh_wanted = 1 then 1 else full_wanted end,
      connector_state = new_state, refresh_count = refresh_count + counted,
      last_refreshed_at = refreshed_at, schedule = new_schedule, consent_expires_at = consent_until,
      due_at = next_due_at - (select clock_offset_ms from applications where applications.id = items.application_id),
      accounts_updated_at = coalesce(accounts_at, accounts_updated_at)
    from ${refreshed} as refreshed where id = item_id`);
}

/** The item as {@link updateRefreshedItems} leaves it. */
export function refreshedItem(item: Item, refreshed: RefreshedItem): Item {
  return {
    ...item,
    status: refreshed.status,
    statusCodeInfo: refreshed.statusCodeInfo,
    connectedOnce: item.connectedOnce || refreshed.connected,
    historyComplete: item.historyComplete || refreshed.historyComplete,
    fullRefreshWanted: (refreshed.keepsFullWish && item.fullRefreshWanted) || refreshed.fullRefreshWanted,
    connectorState: refreshed.connectorState,
    refreshCount: item.refreshCount + refreshed.refreshes,
    schedule: refreshed.schedule,
    consentExpiresAt: refreshed.consentExpiresAt,
  };
}

/** The user has been at the bank again, or somebody asks for it: the next refresh, or the one after a visit, looks at the whole history. */
export async function wantFullRefresh(tx: Writer, itemId: number): Promise<void> {
  await tx.run(sql`update items set full_refresh_wanted = 1 where id = ${itemId}`);
}

/** Uploaded files are read once: what a refresh read (`sealed`) is not kept; newer files that came meanwhile are. */
export async function forgetCredentials(tx: Writer, itemId: number, sealed: string): Promise<void> {
  await tx.run(sql`update items set credentials = null where id = ${itemId} and credentials = ${sealed}`);
}

const AT_REST = sql`not exists (select 1 from refreshes where item_id = items.id and finished_at is null)`;

/**
 * Erases credentials of first connections that failed or were abandoned, once none of their refreshes is open, of so many items;
 * answers how many.
 * Whoever asks for a refresh holds the item first: behind that, a second statement sees what was asked for meanwhile.
 */
export async function eraseExpiredCredentials(
  storage: Pick<Storage, 'transaction' | 'forUpdate'>,
  now: number,
  limit: number,
): Promise<number> {
  return storage.transaction(async (tx) => {
    const expired = await tx.all<{ id: number }>(sql`
      select id from items where credentials_expire_at <= ${now} and connected_once = 0 and ${AT_REST}
      order by id limit ${limit}${storage.forUpdate}`);
    if (expired.length === 0) return 0;
    return tx.run(sql`
      update items set credentials = null, connector_state = null, credentials_expire_at = null, due_at = null
      where id in ${sqlList(expired.map(({ id }) => id))} and ${AT_REST}`);
  });
}

/**
 * A test clock went forward: what is due in the application's time comes nearer in real time. All its items, those that are not
 * due at all too: their rows are held, so that whoever gives one a moment does so before the clock moves or after it.
 */
export async function bringDueNearer(tx: Writer, applicationId: string, byMs: number): Promise<void> {
  await tx.run(sql`update items set due_at = due_at - ${byMs} where application_id = ${applicationId}`);
}
