/**
 * Where events are born, and the only place: inside the transaction that makes the change they report, as its last statements.
 * The row lock on a lane's head makes its sequence gapless and its commit order its seq order.
 */
import { type SqlValue, sql, sqlTable } from '../storage/sql.ts';
import type { Writer } from '../storage/storage.ts';
import {
  contentOf,
  type EventDraft,
  type OperationalDraft,
  operationalContentOf,
  TEST_EVENT,
  TEST_EVENT_CONTENT,
  TEST_EVENT_TIMESTAMP,
} from './catalogue.ts';
import { eventId, laneOf } from './log.ts';
import { countEvents } from './sequences.ts';

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

/** The `count` timestamps that {@link takeTimestampsOf} would give a user whose last one was `lastEventAt`. */
export function timestampsAfter(lastEventAt: number, now: number, count: number): number[] {
  const first = Math.max(lastEventAt + 1, now);
  return Array.from({ length: count }, (_, index) => first + index);
}

export type UsedTimestamps = { userUuid: string; wasLastAt: number; lastAt: number };
const usedTable = sqlTable({ user_uuid: 'text', was_last_at: 'bigint', last_at: 'bigint' });

/** Takes timestamps that were worked out before; answers of how many users nobody else has taken any meanwhile. Locks the users. */
export async function useTimestamps(tx: Writer, users: readonly UsedTimestamps[]): Promise<number> {
  const used = usedTable(
    users.map(({ userUuid, wasLastAt, lastAt }) => ({ user_uuid: userUuid, was_last_at: wasLastAt, last_at: lastAt })),
  );
  return tx.run(sql`
    update users set last_event_at = last_at from ${used} as used where users.uuid = user_uuid and last_event_at = was_last_at`);
}

/** Takes `count` timestamps of one user, as {@link takeTimestampsOf}. */
export async function takeTimestamps(tx: Writer, userUuid: string, now: number, count: number): Promise<number[]> {
  const [timestamps] = await takeTimestampsOf(tx, [{ userUuid, now, count }]);
  return timestamps!;
}

/** Events of one origin, in their order. */
export type Append = { origin: Origin; events: readonly Dated[] };

/** Appends events of one origin, as {@link appendAll}. */
export async function appendEvents(tx: Writer, origin: Origin, events: readonly Dated[]): Promise<string[]> {
  return appendAll(tx, [{ origin, events }]);
}

/**
 * Appends events as the last statements of the transaction that makes their changes; answers their ids, in their order. Lanes
 * are locked in ascending order, from here to the commit.
 */
export async function appendAll(tx: Writer, appends: readonly Append[]): Promise<string[]> {
  const events = appends.flatMap(({ origin, events: dated }) => dated.map((one) => ({ ...one, origin })));
  if (events.length === 0) return [];
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
  const ids: string[] = [];
  const rows = lanes.flatMap(([lane, indexes], at) =>
    indexes.map((index, offset) => {
      const { draft, timestamp, origin } = events[index]!;
      const seq = heads[at]!.first + offset;
      ids[index] = eventId(lane, seq);
      const event = {
        type: draft.type,
        userUuid: draft.userUuid,
        itemId: draft.itemId,
        accountId: 'accountId' in draft ? draft.accountId : null,
        content: contentOf(draft),
        timestamp,
        sequences: JSON.stringify(counts[index]!),
      };
      return rowOf(origin, { segment: heads[at]!.segment, lane, seq }, event);
    }),
  );
  await tx.insertLast('events', COLUMNS, rows);
  return ids;
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
  await tx.insertLast('events', COLUMNS, rows);
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
