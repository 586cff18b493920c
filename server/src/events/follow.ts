/** Reading an application's events from a position on: a position is one seq for each lane, and moves in any of them. */
import { type Sql, sql } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';
import { itemsBeingErased } from './erase.ts';
import { type EventRow, eventFromRow, LANES, type LoggedEvent } from './log.ts';

/** Events read for one page, also of kinds that are not asked for: some 5 ms of the main thread on SQLite. */
export const SCAN_MAX = 2_000;
/** Lanes that one statement reads. With the partitions of a month each is a plan of its own: PostgreSQL takes 10 ms for 16. */
const LANES_PER_STATEMENT = 16;

export type Place = {
  /** Of each lane the newest seq that was read. */
  seqs: readonly number[];
  /** No event after `seqs` is in an older segment: what is read leaves those out. */
  segment: number;
  /** Where the next page begins, so that a busy lane does not keep the others waiting. */
  turn: number;
};

/** `more`: there is more than was read. */
export type FollowedPage = { events: LoggedEvent[]; next: Place; more: boolean };

type Head = { lane: number; head: number; segment: number };

/** After the newest event of now. */
export async function placeOfNow(reader: Reader): Promise<Place> {
  const heads = await readHeads(reader);
  return { seqs: heads.map(({ head }) => head), segment: Math.min(...heads.map(({ segment }) => segment)), turn: 0 };
}

/** Before the oldest event that is kept. Retention freezes a segment before it takes anything of it. */
export async function placeOfOldest(reader: Reader): Promise<Place> {
  const row = await reader.first<{ segment: number; starts: string }>(
    sql`select segment, starts from segments where frozen_at is null order by segment limit 1`,
  );
  return row
    ? { seqs: JSON.parse(row.starts) as number[], segment: row.segment, turn: 0 }
    : { seqs: Array<number>(LANES).fill(0), segment: 0, turn: 0 };
}

/** Whether retention has taken events after the place, of whomever they were. */
export async function isExpired(reader: Reader, place: Place): Promise<boolean> {
  const oldest = await placeOfOldest(reader);
  return oldest.seqs.some((seq, lane) => place.seqs[lane]! < seq);
}

/**
 * At most `limit` events of the application, in the order of each lane. `types` null is all kinds; test events, which are
 * one endpoint's own, and those of erased items are left out, from the erasure's first moment on. Null where the place lies beyond the log: it is of another database.
 *
 * The heads are read first: a head is committed with its events, so nothing below it can appear later, and a lane that
 * was read to its head is settled up to there, also where its events were other applications'.
 */
export async function readPage(
  reader: Reader,
  request: { applicationId: string; place: Place; types: ReadonlySet<string> | null; limit: number },
): Promise<FollowedPage | null> {
  const { applicationId, place, types, limit } = request;
  const heads = await readHeads(reader);
  if (heads.some(({ lane, head }) => place.seqs[lane]! > head)) return null;
  const erasing = await itemsBeingErased(reader);
  const isShown = ({ endpoint_id, erased, item_id, type }: EventRow) =>
    endpoint_id === null && erased === 0 && !(item_id !== null && erasing.has(item_id)) && (types === null || types.has(type));
  const seqs = [...place.seqs];
  const moved = [...heads.slice(place.turn), ...heads.slice(0, place.turn)].filter(({ lane, head }) => head > seqs[lane]!);
  const segments = new Map(moved.map(({ lane }) => [lane, place.segment]));
  const events: LoggedEvent[] = [];
  let scanned = 0;
  let more = false;
  let turn = place.turn;
  for (let first = 0; first < moved.length && !more; first += LANES_PER_STATEMENT) {
    const bound = Math.min(types === null ? limit - events.length : SCAN_MAX, SCAN_MAX - scanned);
    if (bound === 0 || events.length === limit) {
      more = true;
      break;
    }
    const part = moved.slice(first, first + LANES_PER_STATEMENT);
    const rows = await reader.all<EventRow>(scan(applicationId, part, seqs, place.segment, bound));
    scanned += rows.length;
    // A full answer says nothing of what comes after the rows that it has, in whichever lane.
    more = rows.length === bound;
    for (const row of rows) {
      if (events.length === limit) {
        more = true;
        break;
      }
      seqs[row.lane] = row.seq;
      segments.set(row.lane, row.segment);
      turn = (row.lane + 1) % LANES;
      if (isShown(row)) events.push(eventFromRow(row));
    }
    if (more) break;
    for (const { lane, head, segment } of part) {
      seqs[lane] = head;
      segments.set(lane, segment);
    }
  }
  const segment = Math.min(...heads.map((head) => segments.get(head.lane) ?? head.segment));
  return { events, next: { seqs, segment, turn }, more };
}

function readHeads(reader: Reader): Promise<Head[]> {
  return reader.all<Head>(sql`select lane, head, segment from lane_heads order by lane`);
}

/** One statement, with a bound for each lane; lanes come in the order of `lanes`, each of them in its own. */
function scan(applicationId: string, lanes: readonly Head[], seqs: readonly number[], segment: number, limit: number): Sql {
  const parts = lanes.map(
    ({ lane, head }) => sql`select * from (
      select segment, lane, seq, application_id, type, user_uuid, item_id, account_id, refresh_id, endpoint_id, content, timestamp,
        committed_at, sequences, traceparent, about_endpoint_id, erased
      from events where application_id = ${applicationId} and lane = ${lane} and seq > ${seqs[lane]!} and seq <= ${head} and segment >= ${segment}
      order by seq limit ${limit}) as part`,
  );
  return sql`${parts.reduce((all, part) => sql`${all} union all ${part}`)} limit ${limit}`;
}
