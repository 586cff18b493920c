/**
 * The log: 64 ordered lanes. The one place where an event can be born, and only inside the transaction that makes the
 * change it reports. The row lock on a lane's head makes its sequence gapless and its commit order its seq order.
 */
import { type SqlValue, sql, sqlList, sqlTable } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';
import {
  contentOf,
  type EventDraft,
  type OperationalDraft,
  operationalContentOf,
  TEST_EVENT,
  TEST_EVENT_CONTENT,
  TEST_EVENT_TIMESTAMP,
} from './catalogue.ts';
import { readNext, segmentBounds } from './segments.ts';
import { countEvents } from './sequences.ts';

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

export type Origin = { applicationId: string; refreshId: string | null; committedAt: number; traceparent?: string | null };
type Dated = { draft: EventDraft; timestamp: number };

/** `count` timestamps of a user, not before `now` (the application's clock). */
export type TakenTimestamps = { userUuid: string; now: number; count: number };

const takenTable = sqlTable({ user_uuid: 'text', not_before: 'bigint', count: 'bigint' });

/** Takes timestamps of these users, each larger than any before of its user. Locks the users, each of whom may be named once. */
export async function takeTimestampsOf(tx: Writer, takes: readonly TakenTimestamps[]): Promise<number[][]> {
  const taken = takenTable(takes.map(({ userUuid, now, count }) => ({ user_uuid: userUuid, not_before: now, count })));
  const rows = await tx.all<{ uuid: string; last_event_at: number }>(sql`
    update users set last_event_at =
      (case when last_event_at >= taken.not_before then last_event_at + 1 else taken.not_before end) + taken.count - 1
    from ${taken} as taken where users.uuid = taken.user_uuid returning uuid, last_event_at`);
  const last = new Map(rows.map(({ uuid, last_event_at }) => [uuid, last_event_at]));
  return takes.map(({ userUuid, count }) => {
    const end = last.get(userUuid);
    if (end === undefined) throw new Error('events of a user that does not exist');
    return Array.from({ length: count }, (_, index) => end - count + 1 + index);
  });
}

/** Takes `count` timestamps of one user, as {@link takeTimestampsOf}. */
export async function takeTimestamps(tx: Writer, userUuid: string, now: number, count: number): Promise<number[]> {
  const [timestamps] = await takeTimestampsOf(tx, [{ userUuid, now, count }]);
  return timestamps!;
}

/** Events of one origin, in their order. */
export type Append = { origin: Origin; events: readonly Dated[] };

/** Appends events of one origin, as {@link appendAll}. */
export async function appendEvents(tx: Writer, origin: Origin, events: readonly Dated[]): Promise<void> {
  await appendAll(tx, [{ origin, events }]);
}

/** Appends events as the last statements of the transaction that makes their changes. Lanes are locked in ascending order. */
export async function appendAll(tx: Writer, appends: readonly Append[]): Promise<void> {
  const events = appends.flatMap(({ origin, events: dated }) => dated.map((one) => ({ ...one, origin })));
  if (events.length === 0) return;
  const byLane = new Map<number, number[]>();
  for (const [index, { draft }] of events.entries()) {
    const lane = laneOf(`item:${draft.itemId}`);
    const before = byLane.get(lane);
    if (before) before.push(index);
    else byLane.set(lane, [index]);
  }
  const lanes = [...byLane].sort(([a], [b]) => a - b);
  // The heads are asked for behind the counting, without waiting for its answer.
  const [counts, ...heads] = await Promise.all([
    countEvents(
      tx,
      events.map(({ draft }) => draft),
    ),
    ...lanes.map(([lane, indexes]) => advance(tx, lane, indexes.length)),
  ]);
  const rows = lanes.flatMap(([lane, indexes], at) =>
    indexes.map((index, place) => {
      const { draft, timestamp, origin } = events[index]!;
      const event = {
        type: draft.type,
        userUuid: draft.userUuid,
        itemId: draft.itemId,
        accountId: 'accountId' in draft ? draft.accountId : null,
        content: contentOf(draft),
        timestamp,
        sequences: JSON.stringify(counts[index]!),
      };
      return rowOf(origin, { segment: heads[at]!.segment, lane, seq: heads[at]!.first + place }, event);
    }),
  );
  await tx.insertMany('events', COLUMNS, rows);
}

/** The contract's test event (section 1.2), for one endpoint alone. Answers its id. */
export async function appendTestEvent(tx: Writer, origin: Origin & { endpointId: string }): Promise<string> {
  const lane = laneOf(`application:${origin.applicationId}`);
  const event = { type: TEST_EVENT, endpointId: origin.endpointId, content: TEST_EVENT_CONTENT, timestamp: TEST_EVENT_TIMESTAMP };
  return eventId(lane, await appendToLane(tx, origin, lane, [event]));
}

/**
 * Operational events, in the application's lane, as the last statements of the transaction that makes what they report.
 * They happen to deliveries, so their timestamp is real time (`origin.committedAt`).
 */
export async function appendOperationalEvents(tx: Writer, origin: Origin, drafts: readonly OperationalDraft[]): Promise<void> {
  if (drafts.length === 0) return;
  const events = drafts.map((draft) => ({
    type: draft.type,
    aboutEndpointId: draft.endpointId,
    content: operationalContentOf(draft),
    timestamp: origin.committedAt,
  }));
  await appendToLane(tx, origin, laneOf(`application:${origin.applicationId}`), events);
}

type NewEvent = {
  type: string;
  userUuid?: string;
  itemId?: number;
  accountId?: number | null;
  endpointId?: string;
  aboutEndpointId?: string;
  content: string;
  timestamp: number;
  sequences?: string;
};

/** Locks the lane's head until the commit. Answers the first seq. */
async function appendToLane(tx: Writer, origin: Origin, lane: number, events: readonly NewEvent[]): Promise<number> {
  const { segment, first } = await advance(tx, lane, events.length);
  const rows = events.map((event, index) => rowOf(origin, { segment, lane, seq: first + index }, event));
  await tx.insertMany('events', COLUMNS, rows);
  return first;
}

function rowOf(origin: Origin, place: { segment: number; lane: number; seq: number }, event: NewEvent): SqlValue[] {
  return [
    place.segment,
    place.lane,
    place.seq,
    origin.applicationId,
    event.type,
    event.userUuid ?? null,
    event.itemId ?? null,
    event.accountId ?? null,
    origin.refreshId,
    event.endpointId ?? null,
    event.content,
    event.timestamp,
    origin.committedAt,
    event.sequences ?? null,
    origin.traceparent ?? null,
    event.aboutEndpointId ?? null,
  ];
}

async function advance(tx: Writer, lane: number, count: number): Promise<{ segment: number; first: number }> {
  const head = await tx.first<{ segment: number; head: number }>(
    sql`update lane_heads set head = head + ${count} where lane = ${lane} returning segment, head`,
  );
  if (!head) throw new Error(`lane ${lane} does not exist: run the migrations`);
  return { segment: head.segment, first: head.head - count + 1 };
}

const COLUMNS = [
  'segment',
  'lane',
  'seq',
  'application_id',
  'type',
  'user_uuid',
  'item_id',
  'account_id',
  'refresh_id',
  'endpoint_id',
  'content',
  'timestamp',
  'committed_at',
  'sequences',
  'traceparent',
  'about_endpoint_id',
] as const;

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
