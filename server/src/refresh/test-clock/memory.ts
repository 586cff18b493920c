/**
 * What refreshes begin with, for the items of a sandbox that fall due next, as it will be once what has been worked out is
 * written. Nothing else may have changed it by then: {@link Memory.items} says what must still stand.
 */
import { writtenAccount } from '../../accounts/accounts.ts';
import { timestampsAfter, type UsedTimestamps } from '../../events/append.ts';
import { type RefreshedItem, refreshedItem } from '../../items/items.ts';
import { sql } from '../../storage/sql.ts';
import { type Beginning, readBeginnings } from '../beginning.ts';
import { accountsUpdatedAt, type Ending } from '../endings.ts';
import { type BankOutcomes, foreseeOutcomes } from '../schedule/circuits.ts';
import type { RefreshServices } from '../services.ts';
import type { PlanRows } from '../write.ts';
import { createRowMemory, type RowMemory } from './row-memory.ts';

/** Items held at once: with more, the walk goes as far as the next one that is not held, and begins anew there. */
const ITEMS_MAX = 32;

/** `dueAt` is the application's time. */
export type ItemState = { beginning: Beginning; dueAt: number | null };
export type RememberedItem = { written: ItemState; is: ItemState };
type LastEvent = { wasAt: number; isAt: number };

/** An ending with what its transaction would have given it. */
export type WorkedOut = {
  ending: Ending;
  item: RefreshedItem;
  timestamps: readonly number[];
  /** Null where no account was looked at. */
  rows: PlanRows | null;
};

export type Memory = {
  readonly items: ReadonlyMap<number, RememberedItem>;
  readonly rows: RowMemory;
  readonly outcomes: BankOutcomes;
  /** The application's time at which an item falls due that is not held; null without one. */
  readonly othersDueAt: number | null;
  /** The item that is due next, and when. */
  next(): { itemId: number; dueAt: number } | null;
  /** Remembers an ending as if it were committed. */
  take(ending: Ending): WorkedOut;
  /** The last run is none of those that are written from here. */
  leave(): void;
  /** The timestamps that have been taken since the last writing. */
  usedTimestamps(): UsedTimestamps[];
  /** All of it is in the database now. */
  written(): void;
};

/** Of the items that are due until `to` (the application's time); null where the first of them is not of a predictable bank. */
export async function remember(
  { storage, vault, connector, outcomes }: RefreshServices,
  { applicationId, to, offsetMs }: { applicationId: string; to: number; offsetMs: number },
): Promise<Memory | null> {
  type DueRow = { id: number; due_at: number; bank_id: number; user_uuid: string; last_event_at: number };
  const due = await storage.all<DueRow>(sql`
    select items.id, items.due_at, items.bank_id, items.user_uuid, users.last_event_at from items join users on users.uuid = items.user_uuid
    where items.application_id = ${applicationId} and items.due_at <= ${to - offsetMs} order by items.due_at limit ${ITEMS_MAX + 1}`);
  if (due[0] === undefined || !connector(due[0].bank_id)?.predictable) return null;
  const held = due.slice(0, ITEMS_MAX);
  const beginnings = await readBeginnings(
    storage,
    held.map(({ id }) => id),
  );
  await vault.load(
    storage,
    [...beginnings.values()].map(({ item }) => item.dataKeyId),
  );
  const items = new Map<number, RememberedItem>();
  const lastEvents = new Map<string, LastEvent>();
  for (const { id, due_at, user_uuid, last_event_at } of held) {
    const beginning = beginnings.get(id);
    if (!beginning) continue;
    const state = { beginning, dueAt: due_at + offsetMs };
    items.set(id, { written: state, is: state });
    lastEvents.set(user_uuid, { wasAt: last_event_at, isAt: last_event_at });
  }
  const rows = createRowMemory(storage);
  const foreseen = foreseeOutcomes(outcomes);
  const other = due[ITEMS_MAX];

  return {
    items,
    rows,
    outcomes: foreseen,
    othersDueAt: other === undefined ? null : other.due_at + offsetMs,
    next() {
      let next: { itemId: number; dueAt: number } | null = null;
      for (const [itemId, { is }] of items)
        if (is.dueAt !== null && (next === null || is.dueAt < next.dueAt)) next = { itemId, dueAt: is.dueAt };
      return next;
    },
    take(ending) {
      const last = lastEvents.get(ending.userUuid)!;
      const timestamps = timestampsAfter(last.isAt, ending.now, ending.drafts.length);
      last.isAt = timestamps.at(-1)!;
      const item = { ...ending.item, accountsUpdatedAt: accountsUpdatedAt(ending, timestamps) };
      const written = ending.rowsAt?.(timestamps) ?? null;
      if (written) rows.put(written.transactions);
      foreseen.keep();
      const remembered = items.get(item.id)!;
      remembered.is = { beginning: beginningAfter(remembered.is.beginning, item, written), dueAt: item.dueAt };
      return { ending, item, timestamps, rows: written };
    },
    leave() {
      foreseen.drop();
    },
    usedTimestamps() {
      return [...lastEvents]
        .filter(([, { wasAt, isAt }]) => isAt > wasAt)
        .map(([userUuid, { wasAt, isAt }]) => ({ userUuid, wasLastAt: wasAt, lastAt: isAt }));
    },
    written() {
      rows.written();
      foreseen.happened();
      for (const item of items.values()) item.written = item.is;
      for (const last of lastEvents.values()) last.wasAt = last.isAt;
    },
  };
}

function beginningAfter(before: Beginning, item: RefreshedItem, rows: PlanRows | null): Beginning {
  const accounts = new Map(before.accounts.map((account) => [account.id, account]));
  for (const { account } of rows?.accounts ?? []) accounts.set(account.id, writtenAccount(accounts.get(account.id) ?? null, account));
  return {
    ...before,
    item: refreshedItem(before.item, item),
    accounts: [...accounts.values()].sort((a, b) => a.id - b.id),
    accountsUpdatedAt: item.accountsUpdatedAt ?? before.accountsUpdatedAt,
  };
}
