/**
 * The attempt log, newest first. The index has attempts by time within each kind: type, outcome and status of an endpoint. A
 * filter chooses kinds, of which no more than a page is read each, wherever in the log its rows stand. Measured on SQLite,
 * an index for each filter would cost each delivery 5 µs more, and one by item 25.
 */
import { type AttemptKind, attemptKinds, isDelivered, kindRows, kindsTable, OF_KIND, statusOf } from '../../endpoints/attempt-kinds.ts';
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import { listOfItem } from './item.ts';
import { type AttemptKey, byTime, isBefore, keyOf } from './order.ts';
import { type Attempt, type AttemptRow, attemptFromRow } from './read.ts';

/** Of an application: those that live (10 at most) and the last that were deleted. */
export const ENDPOINTS_LISTED_MAX = 50;

/** Times are epoch milliseconds; `since` is included and `until` is not. */
export type AttemptFilter = {
  itemId?: number | undefined;
  type?: string | undefined;
  outcome?: 'delivered' | 'failed' | undefined;
  status?: number | undefined;
  since?: number | undefined;
  until?: number | undefined;
};

export type AttemptPage = { attempts: Attempt[]; next: AttemptKey | null };
export type AttemptRequest = {
  applicationId: string;
  /** Of this application. */
  endpointIds: readonly string[];
  filter: AttemptFilter;
  after: AttemptKey | null;
  limit: number;
};

/** Of an application, also deleted ones: those that live, then the last that were deleted. */
export async function listedEndpoints(reader: Reader, applicationId: string): Promise<string[]> {
  const rows = await reader.all<{ id: string }>(
    sql`select id from endpoints where application_id = ${applicationId}
        order by case when deleted_at is null then 0 else 1 end, coalesce(deleted_at, created_at) desc, id limit ${ENDPOINTS_LISTED_MAX}`,
  );
  return rows.map(({ id }) => id);
}

/** Whether the endpoint is the application's, also where it was deleted, however long ago. */
export async function isEndpointOf(reader: Reader, applicationId: string, id: string): Promise<boolean> {
  return (await reader.first(sql`select id from endpoints where id = ${id} and application_id = ${applicationId}`)) !== undefined;
}

/**
 * The attempts of these endpoints after `after`, newest first. Those of an item by its events, the newest event first: its
 * page can be short, or empty, and have a `next`, where the item's lane has been quiet of it for long.
 */
export async function listAttempts(reader: Reader, request: AttemptRequest): Promise<AttemptPage> {
  const { endpointIds, filter, after, limit } = request;
  if (endpointIds.length === 0) return { attempts: [], next: null };
  if (filter.itemId !== undefined) return listOfItem(reader, filter.itemId, request);
  const kinds = (await attemptKinds(reader, endpointIds)).filter((kind) => isWanted(kind, filter));
  const span = {
    since: filter.since ?? 0,
    through: Math.min(filter.until === undefined ? Number.MAX_SAFE_INTEGER : filter.until - 1, after?.at ?? Number.MAX_SAFE_INTEGER),
  };
  const from = await beginningOfPage(reader, kinds, span, after, limit + 1);
  const keys = (await readKeys(reader, kinds, { since: from, through: span.through }))
    .filter((key) => after === null || isBefore(after, key))
    .sort(byTime);
  const page = keys.slice(0, limit);
  return { attempts: await readAttempts(reader, page), next: keys.length > limit ? keyOf(page.at(-1)!) : null };
}

function isWanted(kind: AttemptKind, { type, outcome, status }: AttemptFilter): boolean {
  return (
    (type === undefined || kind.type === type) &&
    (outcome === undefined || isDelivered(kind) === (outcome === 'delivered')) &&
    (status === undefined || statusOf(kind) === status)
  );
}

/** Both inclusive, epoch milliseconds. */
type Span = { since: number; through: number };

/** Of one statement: some 100 looks at the index, each with no more rows than a page, are a few ms of the main thread on SQLite. */
export const KINDS_PER_STATEMENT = 100;
const ROWS_PER_STATEMENT = 10_000;

/** By turns: a receiver that answers with a status of its own each time makes kinds by the thousand. */
async function* someOf(kinds: readonly AttemptKind[], perStatement: number): AsyncGenerator<AttemptKind[]> {
  for (let from = 0; from < kinds.length; from += perStatement) {
    if (from > 0) await new Promise(setImmediate);
    yield kinds.slice(from, from + perStatement);
  }
}

/** The time of the `count`-th newest attempt of all these kinds; those at the very time of `after` do not count. From the index alone. */
async function beginningOfPage(reader: Reader, kinds: readonly AttemptKind[], span: Span, after: AttemptKey | null, count: number) {
  const through = after === null ? span.through : Math.min(span.through, after.at - 1);
  const perStatement = Math.max(1, Math.min(KINDS_PER_STATEMENT, Math.floor(ROWS_PER_STATEMENT / count)));
  let newest = new Float64Array();
  // What is older than a full page of the kinds so far is not read of the others.
  let since = span.since;
  for await (const some of someOf(kinds, perStatement)) {
    const rows = await reader.all<{ times: string | null }>(sql`
      select (select string_agg(cast(newest.at as text), ',') from (select a.at from attempts a where ${OF_KIND}
          and a.at >= ${since} and a.at <= ${through}
          order by a.at desc limit ${count}) as newest) as times
      from ${kindsTable(kindRows(some))} as k`);
    const times = rows.flatMap(({ times }) => (times === null ? [] : times.split(',').map(Number)));
    newest = Float64Array.of(...newest, ...times)
      .sort()
      .slice(-count);
    if (newest.length === count) since = newest[0]!;
  }
  return since;
}

type Key = AttemptKey & { segment: number };

/** What of these kinds was begun in the span: a page, and what shares its first and its last millisecond. */
async function readKeys(reader: Reader, kinds: readonly AttemptKind[], { since, through }: Span): Promise<Key[]> {
  const keys: Key[] = [];
  for await (const some of someOf(kinds, KINDS_PER_STATEMENT)) {
    const rows = await reader.all<{ endpoint_id: string; found: string | null }>(sql`
      select k.endpoint_id, (select string_agg(cast(a.at as text) || ',' || cast(a.segment as text) || ',' || cast(a.lane as text) || ','
          || cast(a.seq as text) || ',' || a.source || ',' || a.replay_id || ',' || cast(a.n as text), ' ') from attempts a
        where ${OF_KIND} and a.at >= ${since} and a.at <= ${through}) as found
      from ${kindsTable(kindRows(some))} as k`);
    for (const { endpoint_id, found } of rows) if (found !== null) keys.push(...found.split(' ').map((text) => keyFrom(endpoint_id, text)));
  }
  return keys;
}

function keyFrom(endpointId: string, text: string): Key {
  const [at, segment, lane, seq, source, replayId, n] = text.split(',') as [string, string, string, string, string, string, string];
  const place = { at: Number(at), segment: Number(segment), lane: Number(lane), seq: Number(seq), n: Number(n) };
  return { ...place, endpointId, source: source as Attempt['source'], replayId };
}

/** Attempts that one statement asks for: each is one look at the primary key. */
const KEYS_PER_STATEMENT = 50;

/**
 * In the order of the list, without those that retention took meanwhile. Segment by segment, because where the planner of
 * PostgreSQL knows it, it looks into one partition; and by all of the key, because it takes part of it for dear.
 */
async function readAttempts(reader: Reader, keys: readonly Key[]): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  for (const [segment, ofSegment] of Map.groupBy(keys, (key) => key.segment)) {
    for (let first = 0; first < ofSegment.length; first += KEYS_PER_STATEMENT) {
      // Requests and deliveries have their turn.
      if (attempts.length > 0) await new Promise(setImmediate);
      const wanted = ofSegment
        .slice(first, first + KEYS_PER_STATEMENT)
        .map(
          ({ lane, seq, endpointId, source, replayId, n }) =>
            sql`(lane = ${lane} and seq = ${seq} and endpoint_id = ${endpointId} and source = ${source} and replay_id = ${replayId} and n = ${n})`,
        )
        .reduce((all, one) => sql`${all} or ${one}`);
      const rows = await reader.all<AttemptRow>(sql`select * from attempts where segment = ${segment} and (${wanted})`);
      attempts.push(...rows.map(attemptFromRow));
    }
  }
  return attempts.sort(byTime);
}
