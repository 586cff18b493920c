/** How many events of each kind an item has had, so that a receiver can be told a number that shows a gap. */
import { sql, sqlTable } from '../storage/sql.ts';
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

const addedTable = sqlTable({
  item_id: 'bigint',
  item_created: 'bigint',
  item_refreshed: 'bigint',
  account_created: 'bigint',
  account_updated: 'bigint',
  account_deleted: 'bigint',
});

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
  const additions = [...added]
    .sort(([a], [b]) => a - b)
    .map(([itemId, [created = 0, refreshed = 0, accountCreated = 0, accountUpdated = 0, accountDeleted = 0]]) => ({
      item_id: itemId,
      item_created: created,
      item_refreshed: refreshed,
      account_created: accountCreated,
      account_updated: accountUpdated,
      account_deleted: accountDeleted,
    }));
  // `where true`: without it SQLite takes `on conflict` for a condition of a join.
  const rows = await tx.all<CountsRow>(sql`
    insert into event_counts (item_id, item_created, item_refreshed, account_created, account_updated, account_deleted)
    select item_id, item_created, item_refreshed, account_created, account_updated, account_deleted
    from ${addedTable(additions)} as added where true
    on conflict (item_id) do update set item_created = event_counts.item_created + excluded.item_created,
      item_refreshed = event_counts.item_refreshed + excluded.item_refreshed,
      account_created = event_counts.account_created + excluded.account_created,
      account_updated = event_counts.account_updated + excluded.account_updated,
      account_deleted = event_counts.account_deleted + excluded.account_deleted
    returning item_id, item_created, item_refreshed, account_created, account_updated, account_deleted`);
  const running = new Map<number, number[]>();
  for (const row of rows) {
    const after = [row.item_created, row.item_refreshed, row.account_created, row.account_updated, row.account_deleted];
    const counts = added.get(row.item_id)!;
    running.set(
      row.item_id,
      after.map((count, kind) => count - counts[kind]!),
    );
  }
  return events.map(({ itemId, type }) => {
    const counts = running.get(itemId)!;
    counts[EVENT_TYPES.indexOf(type)]! += 1;
    return [...counts];
  });
}
