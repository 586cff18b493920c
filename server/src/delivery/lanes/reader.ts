/** What delivery reads: the tails of lanes, what was done before a restart, and what is due again. */
import { type EventRow, eventFromRow, type LoggedEvent } from '../../events/log.ts';
import { noteSegment, readNext, segmentBounds } from '../../events/segments.ts';
import { sql, sqlList, sqlTable } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import type { Position, Range } from './position.ts';

export type Tail = { events: LoggedEvent[]; configurationVersion: number | null };
type TailRow = EventRow & { configuration_version: number };

/**
 * Events of a lane after a position, in order. The configuration's version comes in the same statement, so from the same
 * snapshot: an endpoint that these events may match is never newer than it.
 */
export async function readTail(reader: Reader, lane: number, afterSeq: number, limit: number): Promise<Tail> {
  const rows = await readNext(reader, { lane, afterSeq, limit }, ({ from, through }) =>
    reader.all<TailRow>(
      sql`select segment, lane, seq, application_id, type, user_uuid, item_id, account_id, refresh_id, endpoint_id, content, timestamp, committed_at,
            sequences, traceparent, about_endpoint_id, erased,
            (select c.version from configuration c) as configuration_version
          from events where segment between ${from} and ${through} and lane = ${lane} and seq > ${afterSeq} order by seq limit ${limit}`,
    ),
  );
  return { events: rows.map(eventFromRow), configurationVersion: rows[0]?.configuration_version ?? null };
}

export type Tails = { lanes: Map<number, LoggedEvent[]>; configurationVersion: number | null };

const positionTable = sqlTable({ lane: 'bigint', after_seq: 'bigint' });

/** The tails of several lanes, each named once, in one statement (of PostgreSQL alone); of each at most `limit` events. */
export async function readTails(reader: Reader, positions: readonly { lane: number; afterSeq: number }[], limit: number): Promise<Tails> {
  const bounds = await Promise.all(positions.map(({ lane, afterSeq }) => segmentBounds(reader, lane, afterSeq)));
  // One bound for all, which is known before the lanes are: the older partitions are not even opened.
  const from = Math.min(...bounds.map((bound) => bound.from));
  const wanted = positions.map(({ lane, afterSeq }) => ({ lane, after_seq: afterSeq }));
  const rows = await reader.all<TailRow>(
    sql`select tail.*, (select c.version from configuration c) as configuration_version
        from ${positionTable(wanted)} as wanted cross join lateral (
          select segment, lane, seq, application_id, type, user_uuid, item_id, account_id, refresh_id, endpoint_id, content, timestamp,
            committed_at, sequences, traceparent, about_endpoint_id, erased
          from events where segment >= ${from} and lane = wanted.lane and seq > wanted.after_seq order by seq limit ${limit}
        ) as tail order by tail.lane, tail.seq`,
  );
  await noteSegment(
    reader,
    rows.reduce((newest, { segment }) => Math.max(newest, segment), 0),
  );
  return {
    lanes: Map.groupBy(rows.map(eventFromRow), ({ lane }) => lane),
    configurationVersion: rows[0]?.configuration_version ?? null,
  };
}

export type Stretch = { applicationId: string; lane: number; afterSeq: number; throughSeq: number; limit: number };

/** The same of one application, for an endpoint that reads by itself: by the index on (application, lane, seq). */
export async function readStretch(reader: Reader, { applicationId, lane, afterSeq, throughSeq, limit }: Stretch): Promise<Tail> {
  const { from, through } = await segmentBounds(reader, lane, afterSeq, throughSeq);
  const rows = await reader.all<TailRow>(
    sql`select segment, lane, seq, application_id, type, user_uuid, item_id, account_id, refresh_id, endpoint_id, content, timestamp, committed_at,
          sequences, traceparent, about_endpoint_id, erased,
          (select c.version from configuration c) as configuration_version
        from events where segment between ${from} and ${through}
          and application_id = ${applicationId} and lane = ${lane} and seq > ${afterSeq} and seq <= ${throughSeq}
        order by seq limit ${limit}`,
  );
  return { events: rows.map(eventFromRow), configurationVersion: rows[0]?.configuration_version ?? null };
}

export async function readHeads(reader: Reader): Promise<{ lane: number; head: number }[]> {
  return reader.all<{ lane: number; head: number }>(sql`select lane, head from lane_heads`);
}

/** A lane's newest seq, and the configuration's version of the same snapshot. */
export async function readHead(reader: Reader, lane: number): Promise<{ head: number; configurationVersion: number }> {
  const row = await reader.first<{ head: number; version: number }>(
    sql`select h.head, (select c.version from configuration c) as version from lane_heads h where h.lane = ${lane}`,
  );
  return { head: row?.head ?? 0, configurationVersion: row?.version ?? 0 };
}

export type Done = { seq: number; endpoint_id: string };

/**
 * Above a lane's settled position: what was delivered, or stands in `parked`. By the keys, which begin with lane and seq;
 * bounded by what a lane's window holds, however long the log is.
 */
export async function readDone(reader: Reader, lane: number, settled: number): Promise<Done[]> {
  const parked = await reader.all<Done>(
    sql`select seq, endpoint_id from parked where lane = ${lane} and seq > ${settled} and replay_id = ''`,
  );
  const { from } = await segmentBounds(reader, lane, settled);
  const delivered = await reader.all<Done>(
    sql`select seq, endpoint_id from attempts
        where segment >= ${from} and lane = ${lane} and seq > ${settled} and delivered = 1 and source <> 'replay'`,
  );
  return [...parked, ...delivered];
}

export type PositionRow = Position & { endpointId: string };

/** The endpoints that lag on a lane. */
export async function readPositions(reader: Reader, lane: number): Promise<PositionRow[]> {
  const rows = await reader.all<{ endpoint_id: string; settled: number; ahead: string }>(
    sql`select endpoint_id, settled, ahead from endpoint_positions where lane = ${lane}`,
  );
  return rows.map((row) => ({ endpointId: row.endpoint_id, settled: row.settled, ahead: JSON.parse(row.ahead) as Range[] }));
}

export type OpenRow = { endpoint_id: string; item_id: number | null; seq: number; due_at: number | null };

/** What waits in a lane: parked and not dead, the oldest first. */
export async function readOpen(reader: Reader, lane: number): Promise<OpenRow[]> {
  return reader.all<OpenRow>(
    sql`select endpoint_id, item_id, seq, due_at from parked where lane = ${lane} and state <> 'dead' and replay_id = '' order by seq`,
  );
}

export type ParkedRow = { endpoint_id: string; lane: number; seq: number; item_id: number | null; attempts: number; sent: number };
export type RunnableRow = ParkedRow & { due_at: number };

/** Due at `now` (epoch ms) in these lanes, oldest first, without the endpoints that cannot take more. */
export async function readDue(
  reader: Reader,
  { now, lanes, without, limit }: { now: number; lanes: readonly number[]; without: readonly string[]; limit: number },
): Promise<ParkedRow[]> {
  return without.length === 0
    ? reader.all<ParkedRow>(
        sql`select endpoint_id, lane, seq, item_id, attempts, sent from parked where due_at <= ${now} and replay_id = '' and lane in ${sqlList(lanes)}
            order by due_at limit ${limit}`,
      )
    : reader.all<ParkedRow>(
        sql`select endpoint_id, lane, seq, item_id, attempts, sent from parked where due_at <= ${now} and replay_id = '' and lane in ${sqlList(lanes)}
              and endpoint_id not in ${sqlList(without)}
            order by due_at limit ${limit}`,
      );
}

/** The parked delivery of an endpoint in these lanes that may be sent and was sent least often, whenever it is due; of equals the oldest. */
export async function readLeastSent(reader: Reader, endpointId: string, lanes: readonly number[]): Promise<RunnableRow | undefined> {
  return reader.first<RunnableRow>(
    sql`select endpoint_id, lane, seq, item_id, attempts, sent, due_at from parked
        where endpoint_id = ${endpointId} and state in ('retry', 'waiting') and due_at is not null and replay_id = '' and lane in ${sqlList(lanes)}
        order by sent, parked_at, lane, seq limit 1`,
  );
}

/** Parked rows of one endpoint by their seqs. */
export async function readParked(reader: Reader, endpointId: string, lane: number, seqs: readonly number[]): Promise<ParkedRow[]> {
  return reader.all<ParkedRow>(
    sql`select endpoint_id, lane, seq, item_id, attempts, sent from parked
        where endpoint_id = ${endpointId} and lane = ${lane} and seq in ${sqlList(seqs)} and replay_id = '' and state <> 'dead' order by seq`,
  );
}

/** When the next parked delivery of these lanes after `now` is due, or null. */
export async function readNextDue(reader: Reader, now: number, lanes: readonly number[]): Promise<number | null> {
  const row = await reader.first<{ due_at: number }>(
    sql`select due_at from parked where due_at > ${now} and replay_id = '' and lane in ${sqlList(lanes)} order by due_at limit 1`,
  );
  return row?.due_at ?? null;
}
