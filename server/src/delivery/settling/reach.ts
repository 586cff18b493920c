/** Parked deliveries whose time no rule can have set: it was written by a clock that was far ahead, and has been set back. */
import { RETRY_DELAY_MAX_MS } from '../../endpoints/limits.ts';
import { type Sql, sql, sqlList } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { RETRY_JITTER } from '../channels/retry.ts';

/** The longest delay of a schedule, moved by all that it may be moved. Pauses are shorter. */
export const DUE_WITHIN_MAX_MS = RETRY_DELAY_MAX_MS * (1 + RETRY_JITTER);
/** Rows of one transaction: a few milliseconds of SQLite's only thread. */
const ROWS_PER_UPDATE = 500;

/** By the index on `due_at`, from its far end, where there is nothing but these. */
export function outOfReach(lanes: readonly number[], now: number): Sql {
  return sql`select endpoint_id, lane, seq, replay_id from parked
             where due_at > ${now + DUE_WITHIN_MAX_MS} and replay_id = '' and lane in ${sqlList(lanes)} limit ${ROWS_PER_UPDATE}`;
}

/** These are due at `now`: when they should have been is not known. Mostly there are none, and nothing but a read is asked. */
export async function bringWithinReach(storage: Storage, lanes: readonly number[], now: number): Promise<void> {
  while (await storage.first(outOfReach(lanes, now))) {
    await storage.transaction((tx) =>
      tx.run(sql`update parked set due_at = ${now} where (endpoint_id, lane, seq, replay_id) in (${outOfReach(lanes, now)})`),
    );
  }
}
