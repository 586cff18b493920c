/**
 * The attempt log, newest first. Its only orders are by endpoint and time, and of failures by endpoint and time: every
 * further index would cost each delivery 8 µs of its 30. Other filters are applied on the way, in bounded steps.
 */
import { type Sql, sql, sqlText } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import { type Attempt, type AttemptRow, attemptFromRow } from './read.ts';

/** Rows read for one page where the filter has no index: some 5 ms of the main thread on SQLite. */
export const SCAN_MAX = 2_000;
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

/** The place of an attempt in the list. */
export type AttemptKey = Pick<Attempt, 'at' | 'lane' | 'seq' | 'endpointId' | 'source' | 'replayId' | 'n'>;
/** A short page with a `next` is not the end: what was read for it had no more matches. */
export type AttemptPage = { attempts: Attempt[]; next: AttemptKey | null };

/** Of an application, also deleted ones, the newest first. */
export async function listedEndpoints(reader: Reader, applicationId: string): Promise<string[]> {
  const rows = await reader.all<{ id: string }>(
    sql`select id from endpoints where application_id = ${applicationId}
        order by case when deleted_at is null then 0 else 1 end, created_at desc, id limit ${ENDPOINTS_LISTED_MAX}`,
  );
  return rows.map(({ id }) => id);
}

/** The attempts of these endpoints, newest first, after `after`. */
export async function listAttempts(
  reader: Reader,
  request: { endpointIds: readonly string[]; filter: AttemptFilter; after: AttemptKey | null; limit: number },
): Promise<AttemptPage> {
  const { endpointIds, filter, after, limit } = request;
  if (endpointIds.length === 0) return { attempts: [], next: null };
  const bound = isIndexed(filter) ? limit + 1 : Math.ceil(SCAN_MAX / endpointIds.length);
  const parts = endpointIds.map((endpointId) => readOf(endpointId, filter, after, bound));
  const rows = await reader.all<ScannedRow>(parts.reduce((all, part) => sql`${all} union all ${part}`));
  const byEndpoint = [...Map.groupBy(rows, (row) => row.endpoint_id).values()];
  return merge(byEndpoint, { bound, limit });
}

type ScannedRow = AttemptRow & { matches: number };

const isIndexed = ({ itemId, type, outcome, status }: AttemptFilter) =>
  itemId === undefined && type === undefined && status === undefined && outcome !== 'delivered';

/** The next `bound` attempts of one endpoint; those that do not match come without what is large. */
function readOf(endpointId: string, filter: AttemptFilter, after: AttemptKey | null, bound: number): Sql {
  const matches = matching(filter);
  const failed = sqlText(filter.outcome === 'failed' ? ' and delivered = 0' : '');
  const since = filter.since === undefined ? sqlText('') : sql` and at >= ${filter.since}`;
  const until = filter.until === undefined ? sqlText('') : sql` and at < ${filter.until}`;
  return sql`select * from (
    select segment, lane, seq, endpoint_id, source, replay_id, n, at, delivered, status, duration_ms, dns_ms, connect_ms, tls_ms,
      first_byte_ms, type, item_id, failure, case when ${matches} then 1 else 0 end as matches,
      case when ${matches} then message end as message, case when ${matches} then snippet end as snippet
    from attempts where endpoint_id = ${endpointId}${failed}${since}${until}${following(endpointId, after)}
    order by at desc, lane desc, seq desc, source desc, replay_id desc, n desc limit ${bound}) as part`;
}

function matching({ itemId, type, outcome, status }: AttemptFilter): Sql {
  return [
    ...(itemId === undefined ? [] : [sql`item_id = ${itemId}`]),
    ...(type === undefined ? [] : [sql`type = ${type}`]),
    ...(outcome === 'delivered' ? [sql`delivered = 1`] : []),
    ...(status === undefined ? [] : [sql`status = ${status}`]),
  ].reduce((all, condition) => sql`${all} and ${condition}`, sqlText('1 = 1'));
}

/**
 * Endpoints are compared here and never by the database, whose order of texts is its own; within one endpoint its order
 * is all that counts.
 */
function following(endpointId: string, after: AttemptKey | null): Sql {
  if (after === null) return sqlText('');
  const { at, lane, seq } = after;
  if (endpointId === after.endpointId)
    return sql` and at <= ${at} and (at, lane, seq, source, replay_id, n) < (${at}, ${lane}, ${seq}, ${after.source}, ${after.replayId}, ${after.n})`;
  return endpointId < after.endpointId
    ? sql` and at <= ${at} and (at, lane, seq) <= (${at}, ${lane}, ${seq})`
    : sql` and at <= ${at} and (at, lane, seq) < (${at}, ${lane}, ${seq})`;
}

/** Up to `limit` matches in the order of all; nothing is taken from beyond where one endpoint's read was cut off. */
function merge(byEndpoint: readonly (readonly ScannedRow[])[], { bound, limit }: { bound: number; limit: number }): AttemptPage {
  const attempts: Attempt[] = [];
  const taken = byEndpoint.map(() => 0);
  let last: ScannedRow | null = null;
  for (;;) {
    let newest = -1;
    for (let index = 0; index < byEndpoint.length; index += 1) {
      const row = byEndpoint[index]![taken[index]!];
      if (row && (newest === -1 || isBefore(row, byEndpoint[newest]![taken[newest]!]!))) newest = index;
    }
    if (newest === -1) return { attempts, next: null };
    if (attempts.length === limit) return { attempts, next: keyOf(last!) };
    const rows = byEndpoint[newest]!;
    last = rows[taken[newest]!]!;
    taken[newest]! += 1;
    if (last.matches === 1) attempts.push(attemptFromRow(last));
    if (taken[newest] === bound) return { attempts, next: keyOf(last) };
  }
}

function isBefore(a: ScannedRow, b: ScannedRow): boolean {
  if (a.at !== b.at) return a.at > b.at;
  if (a.lane !== b.lane) return a.lane > b.lane;
  return a.seq === b.seq ? a.endpoint_id > b.endpoint_id : a.seq > b.seq;
}

function keyOf(row: ScannedRow): AttemptKey {
  return { at: row.at, lane: row.lane, seq: row.seq, endpointId: row.endpoint_id, source: row.source, replayId: row.replay_id, n: row.n };
}
