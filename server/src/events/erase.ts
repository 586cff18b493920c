/**
 * Takes an item's events out of the log: the content goes, the place in the lane stays as a tombstone, so that nobody who
 * follows a lane sees a gap, and the audit can say why an event was never delivered.
 */
import { sql, sqlList } from '../storage/sql.ts';
import type { Reader, Writer } from '../storage/storage.ts';

export type ItemEvents = { lane: number; itemId: number };
export type Tombstone = { segment: number; seq: number };

/** At most `span` places of the lane are looked at: the log has no index by item, and each look is bounded. */
export async function findEventsOf(
  reader: Reader,
  { lane, itemId }: ItemEvents,
  afterSeq: number,
  span: number,
): Promise<readonly Tombstone[]> {
  return reader.all<Tombstone>(
    sql`select segment, seq from events where lane = ${lane} and seq > ${afterSeq} and seq <= ${afterSeq + span} and item_id = ${itemId} order by seq`,
  );
}

/** Those of the lane that are erased already, whoever's they were. */
export async function findTombstones(
  reader: Reader,
  { lane }: Pick<ItemEvents, 'lane'>,
  afterSeq: number,
  span: number,
): Promise<readonly Tombstone[]> {
  return reader.all<Tombstone>(
    sql`select segment, seq from events where lane = ${lane} and seq > ${afterSeq} and seq <= ${afterSeq + span} and erased = 1 order by seq`,
  );
}

/** Of each erasure that is under way, its items; `work` is what the erasure writes about each of them. */
export async function erasuresUnderWay(reader: Reader): Promise<number[][]> {
  const running = await reader.all<{ work: string }>(sql`select work from erasures where state = 'running'`);
  return running.map(({ work }) => (JSON.parse(work) as { itemId: number }[]).map(({ itemId }) => itemId));
}

/** Items whose erasure is under way: until it has come to them, their events stand in the log as they were. */
export async function itemsBeingErased(reader: Reader): Promise<ReadonlySet<number>> {
  return new Set((await erasuresUnderWay(reader)).flat());
}

/** In the transaction with which an erasure begins or ends: every running server looks at `itemsBeingErased` within a second. */
export async function raiseErasures(tx: Writer): Promise<void> {
  await tx.run(sql`update configuration set erasures = erasures + 1`);
}

export async function eraseEvents(tx: Writer, lane: number, places: readonly Tombstone[]): Promise<number> {
  let erased = 0;
  for (const [segment, group] of Map.groupBy(places, (place) => place.segment)) {
    erased += await tx.run(
      sql`update events set content = '{}', user_uuid = null, item_id = null, account_id = null, refresh_id = null, sequences = null,
            traceparent = null, erased = 1
          where segment = ${segment} and lane = ${lane} and seq in ${sqlList(group.map(({ seq }) => seq))}`,
    );
  }
  return erased;
}

/** The running counts from which sequences are made. */
export async function eraseCounts(tx: Writer, itemIds: readonly number[]): Promise<void> {
  await tx.run(sql`delete from event_counts where item_id in ${sqlList(itemIds)}`);
}
