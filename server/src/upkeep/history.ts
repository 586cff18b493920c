/**
 * What tells of the past when the log has gone: the records of refreshes with the reasons of their counts, replays that have
 * ended, and the audit's hours. Kept for a time of their own, and records as long as the log has their events: that is shorter,
 * but for the application of a test clock, whose 400 days may pass in a minute.
 */
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { LANES } from '../events/log.ts';
import { sql, sqlList } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { deleteInBatches, ROWS_PER_DELETE, type Turns } from './batches.ts';

/** Items looked at in one round: two thousand in five minutes are more than half a million a day. */
const ITEMS_PER_ROUND = 2_000;
/** Of these one statement looks at all old records, also at those that are kept for the log. */
const ITEMS_PER_STEP = 50;
/** Deleted in one transaction, with their reasons: a record has a few dozen at most, but for a first connection. */
const RECORDS_PER_STEP = 100;
/** Each has a row for each lane at most. */
const REPLAYS_PER_STEP = Math.floor(ROWS_PER_DELETE / (LANES + 1));

export type HistoryServices = Turns & { storage: Storage; historyDays: number };

/** `afterItem` is where the next round begins: 0 once the last item was looked at. */
export type HistoryRound = { afterItem: number; deleted: number };

/** A run may outlast its claim, whose end is all that a record says of the real time. */
const RUN_MAX_MS = DAY_MS;

/**
 * Forgets what is too old of the next items, by the time of their application, but for what an event of the log counts. The newest record of an item is always kept:
 * it is what the API shows of it. Safe on several nodes at once.
 */
export async function forgetRefreshes(services: HistoryServices, afterItem: number, realNow: number): Promise<HistoryRound> {
  const { storage, historyDays, pause, mayGoOn } = services;
  const items = await storage.all<{ id: number }>(sql`select id from items where id > ${afterItem} order by id limit ${ITEMS_PER_ROUND}`);
  const last = items.at(-1);
  if (!last) return { afterItem: 0, deleted: 0 };
  const before = realNow - historyDays * DAY_MS;
  const log = await storage.first<{ since: number | null }>(sql`select min(opened_at) as since from segments`);
  const ranBefore = (log?.since ?? 0) - RUN_MAX_MS;
  let deleted = 0;
  for (let first = 0; first < items.length; first += ITEMS_PER_STEP) {
    const after = items[first - 1]?.id ?? afterItem;
    const through = items[Math.min(first + ITEMS_PER_STEP, items.length) - 1]!.id;
    for (let more = true; more; ) {
      const old = await storage.all<{ id: string }>(sql`
        select refreshes.id from items join applications on applications.id = items.application_id
          join refreshes on refreshes.item_id = items.id and refreshes.started_at < ${before} + applications.clock_offset_ms
        where items.id > ${after} and items.id <= ${through} and refreshes.finished_at is not null and refreshes.run_at < ${ranBefore}
          and exists (select 1 from refreshes newer where newer.item_id = items.id and newer.started_at > refreshes.started_at)
        limit ${RECORDS_PER_STEP}`);
      if (old.length > 0) {
        const ids = sqlList(old.map(({ id }) => id));
        deleted += await storage.transaction((tx) => tx.run(sql`delete from refreshes where id in ${ids}`));
      }
      if (!mayGoOn()) return { afterItem: after, deleted };
      more = old.length === RECORDS_PER_STEP;
      if (more || through < last.id) await pause();
    }
  }
  return { afterItem: items.length < ITEMS_PER_ROUND ? 0 : last.id, deleted };
}

/** Forgets replays that ended too long ago, and with them the keys of their starts; answers how many. One that runs or is paused is kept. */
export async function forgetReplays({ storage, historyDays, pause, mayGoOn }: HistoryServices, realNow: number): Promise<number> {
  const before = realNow - historyDays * DAY_MS;
  for (let deleted = 0; ; await pause()) {
    if (!mayGoOn()) return deleted;
    const ended = await storage.all<{ id: string }>(
      sql`select id from replays where finished_at < ${before} order by finished_at limit ${REPLAYS_PER_STEP}`,
    );
    if (ended.length === 0) return deleted;
    const ids = sqlList(ended.map(({ id }) => id));
    deleted += await storage.transaction(async (tx) => {
      await tx.run(sql`delete from replay_positions where replay_id in ${ids}`);
      return tx.run(sql`delete from replays where id in ${ids}`);
    });
    if (ended.length < REPLAYS_PER_STEP) return deleted;
  }
}

/** Forgets what the audit found in hours of events that have long gone; answers how many rows that were. */
export async function forgetHours({ storage, historyDays, ...turns }: HistoryServices, realNow: number): Promise<number> {
  const before = Math.floor((realNow - historyDays * DAY_MS) / HOUR_MS);
  const step = (limit: number) =>
    storage.alone.run(
      sql`delete from audited_hours where (endpoint_id, hour) in (
            select endpoint_id, hour from audited_hours where hour < ${before} order by hour limit ${limit})`,
    );
  return (await deleteInBatches(step, turns)).deleted;
}
