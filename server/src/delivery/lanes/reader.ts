/** What delivery reads: the tails of lanes, what was done before a restart, and what is due again. */
import { type EventRow, eventFromRow, type LoggedEvent } from '../../events/log.ts';
import { sql, sqlList } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';

export type Tail = { events: LoggedEvent[]; configurationVersion: number | null };
type TailRow = EventRow & { configuration_version: number };

/**
 * Events of a lane after a position, in order. The configuration's version comes in the same statement, so from the same
 * snapshot: an endpoint that these events may match is never newer than it.
 */
export async function readTail(reader: Reader, lane: number, afterSeq: number, limit: number): Promise<Tail> {
  const rows = await reader.all<TailRow>(
    sql`select segment, lane, seq, application_id, type, user_uuid, item_id, account_id, refresh_id, endpoint_id, content, timestamp, committed_at,
          sequences, traceparent, about_endpoint_id, erased,
          (select c.version from configuration c) as configuration_version
        from events where lane = ${lane} and seq > ${afterSeq} order by seq limit ${limit}`,
  );
  return { events: rows.map(eventFromRow), configurationVersion: rows[0]?.configuration_version ?? null };
}

export async function readHeads(reader: Reader): Promise<{ lane: number; head: number }[]> {
  return reader.all<{ lane: number; head: number }>(sql`select lane, head from lane_heads`);
}

export type Done = { lane: number; seq: number; endpoint_id: string };

/** Above the settled positions of the lanes that `owner` leases: what was delivered, or stands in `parked`. */
export async function readDone(reader: Reader, owner: string): Promise<Done[]> {
  const delivered = await reader.all<Done>(
    sql`select a.lane, a.seq, a.endpoint_id from lane_leases l join attempts a on a.lane = l.lane and a.seq > l.settled
        where l.owner = ${owner} and a.delivered = 1`,
  );
  const parked = await reader.all<Done>(
    sql`select p.lane, p.seq, p.endpoint_id from lane_leases l join parked p on p.lane = l.lane and p.seq > l.settled where l.owner = ${owner}`,
  );
  return [...delivered, ...parked];
}

export type ParkedRow = { endpoint_id: string; lane: number; seq: number; attempts: number };

/** Due at `now` (epoch ms), oldest first, without the endpoints that cannot take more. */
export async function readDue(reader: Reader, now: number, without: readonly string[], limit: number): Promise<ParkedRow[]> {
  return without.length === 0
    ? reader.all<ParkedRow>(sql`select endpoint_id, lane, seq, attempts from parked where due_at <= ${now} order by due_at limit ${limit}`)
    : reader.all<ParkedRow>(
        sql`select endpoint_id, lane, seq, attempts from parked where due_at <= ${now} and endpoint_id not in ${sqlList(without)}
            order by due_at limit ${limit}`,
      );
}

/** When the next parked delivery after `now` is due, or null. */
export async function readNextDue(reader: Reader, now: number): Promise<number | null> {
  const row = await reader.first<{ due: number | null }>(sql`select min(due_at) as due from parked where due_at > ${now}`);
  return row?.due ?? null;
}
