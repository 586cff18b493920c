/** The log: 64 ordered lanes, and how they are read. Events are born in `append.ts`. */
import { sql, sqlList } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';
import { readNext, segmentBounds } from './segments.ts';

export const LANES = 64;
export const FIRST_SEGMENT = 1;

export type LoggedEvent = {
  id: string;
  segment: number;
  lane: number;
  seq: number;
  applicationId: string;
  type: string;
  userUuid: string | null;
  itemId: number | null;
  accountId: number | null;
  refreshId: string | null;
  endpointId: string | null;
  content: string;
  timestamp: number;
  committedAt: number;
  /** Of its item, up to and with this event: how many of each kind, in the order of `EVENT_TYPES`. Null for what has no item. */
  sequences: readonly number[] | null;
  /** W3C trace context of the work that made it. */
  traceparent: string | null;
  /** Operational kinds only: the endpoint that it tells of. */
  aboutEndpointId: string | null;
  /** Erased with its user or item: the content is gone. */
  erased: boolean;
};

/** An item's events always go to the same lane, so an item's order is its lane's order (FNV-1a). */
export function laneOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i += 1) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % LANES;
}

export async function createLanes(storage: Storage): Promise<void> {
  await storage.transaction(async (tx) => {
    const lanes = Array.from({ length: LANES }, (_, lane) => lane);
    await tx.insertMany(
      'lane_heads',
      ['lane', 'segment', 'head'],
      lanes.map((lane) => [lane, FIRST_SEGMENT, 0]),
      'on conflict do nothing',
    );
    await tx.insertMany(
      'lane_leases',
      ['lane', 'epoch', 'renewals', 'settled'],
      lanes.map((lane) => [lane, 0, 0, 0]),
      'on conflict do nothing',
    );
  });
}

/** The positions of all lanes, with their rows locked in ascending order: nothing commits between them and the caller's commit. */
export async function lockHeads(tx: Writer, forUpdate: Storage['forUpdate']): Promise<number[]> {
  const rows = await tx.all<{ lane: number; head: number }>(sql`select lane, head from lane_heads order by lane${forUpdate}`);
  return rows.map((row) => row.head);
}

const ID_FORM = /^evt_([0-9a-z]{2})([0-9a-z]{10})$/;

/** Public ids name the place in the log, so that none needs an index: two digits of lane and ten of seq, in base 36. */
export function eventId(lane: number, seq: number): string {
  return `evt_${lane.toString(36).padStart(2, '0')}${seq.toString(36).padStart(10, '0')}`;
}

export function parseEventId(id: string): { lane: number; seq: number } | null {
  const match = ID_FORM.exec(id);
  if (!match) return null;
  const lane = Number.parseInt(match[1]!, 36);
  return lane < LANES ? { lane, seq: Number.parseInt(match[2]!, 36) } : null;
}

/** A row of the log, for those who read it with a statement of their own. */
export type EventRow = {
  segment: number;
  lane: number;
  seq: number;
  application_id: string;
  type: string;
  user_uuid: string | null;
  item_id: number | null;
  account_id: number | null;
  refresh_id: string | null;
  endpoint_id: string | null;
  content: string;
  timestamp: number;
  committed_at: number;
  sequences: string | null;
  traceparent: string | null;
  about_endpoint_id: string | null;
  erased: number;
};

export function eventFromRow(row: EventRow): LoggedEvent {
  return {
    id: eventId(row.lane, row.seq),
    segment: row.segment,
    lane: row.lane,
    seq: row.seq,
    applicationId: row.application_id,
    type: row.type,
    userUuid: row.user_uuid,
    itemId: row.item_id,
    accountId: row.account_id,
    refreshId: row.refresh_id,
    endpointId: row.endpoint_id,
    content: row.content,
    timestamp: row.timestamp,
    committedAt: row.committed_at,
    sequences: row.sequences === null ? null : (JSON.parse(row.sequences) as number[]),
    traceparent: row.traceparent,
    aboutEndpointId: row.about_endpoint_id,
    erased: row.erased === 1,
  };
}

/** Events of one lane after a position, in order, at most `limit`. */
export async function readLane(reader: Reader, lane: number, afterSeq: number, limit: number): Promise<LoggedEvent[]> {
  const rows = await readNext(reader, { lane, afterSeq, limit }, ({ from, through }) =>
    reader.all<EventRow>(
      sql`select * from events where segment between ${from} and ${through} and lane = ${lane} and seq > ${afterSeq} order by seq limit ${limit}`,
    ),
  );
  return rows.map(eventFromRow);
}

/** Named events of one lane; those that retention took are absent. */
export async function readEvents(reader: Reader, lane: number, seqs: readonly number[]): Promise<LoggedEvent[]> {
  if (seqs.length === 0) return [];
  const { from, through } = await segmentBounds(reader, lane, Math.min(...seqs) - 1, Math.max(...seqs));
  const rows = await reader.all<EventRow>(
    sql`select * from events where segment between ${from} and ${through} and lane = ${lane} and seq in ${sqlList(seqs)} order by seq`,
  );
  return rows.map(eventFromRow);
}

type Newest = { lane: number; seq: number; timestamp: number; committed_at: number };

/**
 * The newest events by commit time, `limit` at most; of all applications where none is given. From the ends of the lanes
 * by their keys, so that it takes no longer when the log is long.
 */
export async function recentEvents(reader: Reader, applicationId: string | null, limit: number): Promise<LoggedEvent[]> {
  const newest: Newest[] = [];
  for (let lane = 0; lane < LANES; lane += 1) {
    const rows = await reader.all<Newest>(
      applicationId === null
        ? sql`select lane, seq, timestamp, committed_at from events where lane = ${lane} order by seq desc limit ${limit}`
        : sql`select lane, seq, timestamp, committed_at from events where application_id = ${applicationId} and lane = ${lane}
            order by seq desc limit ${limit}`,
    );
    newest.push(...rows);
  }
  const shown = newest
    .sort((a, b) => b.committed_at - a.committed_at || b.timestamp - a.timestamp || a.lane - b.lane || b.seq - a.seq)
    .slice(0, limit);
  const events = new Map<string, LoggedEvent>();
  for (const [lane, rows] of Map.groupBy(shown, (row) => row.lane)) {
    const seqs = rows.map(({ seq }) => seq);
    for (const event of await readEvents(reader, lane, seqs)) events.set(event.id, event);
  }
  // What retention took between the two readings is left out.
  return shown.flatMap(({ lane, seq }) => events.get(eventId(lane, seq)) ?? []);
}
