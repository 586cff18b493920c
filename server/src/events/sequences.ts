/** How many events of each kind an item has had, so that a receiver can be told a number that shows a gap. */
import { type Sql, sql, sqlList } from '../storage/sql.ts';
import type { Writer } from '../storage/storage.ts';
import { EVENT_TYPES, type EventType } from './catalogue.ts';

/** One number for each kind, in the order of {@link EVENT_TYPES}. */
export type Counts = readonly number[];

type CountsRow = {
  item_id: number;
  item_created: number;
  item_refreshed: number;
  account_created: number;
  account_updated: number;
  account_deleted: number;
};

/** Six parameters each, far below what either engine takes in one statement. */
export const ITEMS_PER_STATEMENT = 100;

/**
 * Counts these events in, in their order: for each one its item's counts up to and with it. The rows stay locked until
 * the commit, and are locked in ascending order; take the lanes' heads after them.
 */
export async function countEvents(tx: Writer, events: readonly { itemId: number; type: EventType }[]): Promise<Counts[]> {
  const added = new Map<number, number[]>();
  for (const { itemId, type } of events) {
    const counts = added.get(itemId) ?? EVENT_TYPES.map(() => 0);
    counts[EVENT_TYPES.indexOf(type)]! += 1;
    added.set(itemId, counts);
  }
  const items = [...added].sort(([a], [b]) => a - b);
  const running = new Map<number, number[]>();
  for (let start = 0; start < items.length; start += ITEMS_PER_STATEMENT) {
    for (const row of await tx.all<CountsRow>(addition(items.slice(start, start + ITEMS_PER_STATEMENT)))) {
      const after = [row.item_created, row.item_refreshed, row.account_created, row.account_updated, row.account_deleted];
      const counts = added.get(row.item_id)!;
      running.set(
        row.item_id,
        after.map((count, kind) => count - counts[kind]!),
      );
    }
  }
  return events.map(({ itemId, type }) => {
    const counts = running.get(itemId)!;
    counts[EVENT_TYPES.indexOf(type)]! += 1;
    return [...counts];
  });
}

/** A commit of one item is the usual one: its text stands whole in the code, so that it is prepared once. */
function addition(items: readonly (readonly [number, readonly number[]])[]): Sql {
  const rows = items.map(
    ([id, [created = 0, refreshed = 0, accountCreated = 0, accountUpdated = 0, accountDeleted = 0]]) =>
      [id, created, refreshed, accountCreated, accountUpdated, accountDeleted] as const,
  );
  if (rows.length === 1) {
    const [id, created, refreshed, accountCreated, accountUpdated, accountDeleted] = rows[0]!;
    return sql`insert into event_counts (item_id, item_created, item_refreshed, account_created, account_updated, account_deleted)
      values (${id}, ${created}, ${refreshed}, ${accountCreated}, ${accountUpdated}, ${accountDeleted})
      on conflict (item_id) do update set item_created = event_counts.item_created + excluded.item_created,
        item_refreshed = event_counts.item_refreshed + excluded.item_refreshed,
        account_created = event_counts.account_created + excluded.account_created,
        account_updated = event_counts.account_updated + excluded.account_updated,
        account_deleted = event_counts.account_deleted + excluded.account_deleted
      returning item_id, item_created, item_refreshed, account_created, account_updated, account_deleted`;
  }
  return sql`insert into event_counts (item_id, item_created, item_refreshed, account_created, account_updated, account_deleted)
    values ${rows.map(sqlList).reduce((list, row) => sql`${list}, ${row}`)}
    on conflict (item_id) do update set item_created = event_counts.item_created + excluded.item_created,
      item_refreshed = event_counts.item_refreshed + excluded.item_refreshed,
      account_created = event_counts.account_created + excluded.account_created,
      account_updated = event_counts.account_updated + excluded.account_updated,
      account_deleted = event_counts.account_deleted + excluded.account_deleted
    returning item_id, item_created, item_refreshed, account_created, account_updated, account_deleted`;
}
