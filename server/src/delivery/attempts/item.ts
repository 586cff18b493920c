/**
 * The attempts of one item, by its events: they are all in one lane, where the index of the application's events names the item
 * of each. An index by item would be written at another place with each delivery.
 */
import { laneOf } from '../../events/log.ts';
import { segmentBounds } from '../../events/segments.ts';
import { type Sql, sql, sqlList } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import type { AttemptPage, AttemptRequest } from './list.ts';
import { type AttemptKey, byEvent, isBefore, keyOf } from './order.ts';
import { type Attempt, type AttemptRow, attemptFromRow } from './read.ts';

/** Places of the lane that one statement looks at: some 2 ms of the main thread on SQLite. */
export const SPAN = 20_000;
/** Of one page. A log of ten million events has 156,000 places in each lane, which are eight spans. */
export const READS_MAX = 40;
/** Events whose attempts one statement reads. */
const EVENTS_PER_READ = 50;

/** The newest event first; of one event the newest attempt first. */
export async function listOfItem(reader: Reader, itemId: number, request: AttemptRequest): Promise<AttemptPage> {
  const { applicationId, after, limit } = request;
  const lane = laneOf(`item:${itemId}`);
  const ends = await reader.first<{ head: number; starts: string }>(
    sql`select head, (select starts from segments order by segment limit 1) as starts from lane_heads where lane = ${lane}`,
  );
  if (!ends || (after !== null && after.lane !== lane)) return { attempts: [], next: null };
  const start = (JSON.parse(ends.starts) as number[])[lane]!;
  const attempts: Attempt[] = [];
  let through = Math.min(ends.head, after?.seq ?? ends.head);
  for (let reads = 0; through > start; reads += 1) {
    if (reads === READS_MAX) return { attempts, next: beforeEvent(lane, through) };
    // Requests and deliveries have their turn.
    if (reads > 0) await new Promise(setImmediate);
    const seqs = await eventsOf(reader, { applicationId, itemId, lane, through });
    const found = await attemptsOf(reader, { ...request, lane, seqs });
    attempts.push(...found.filter((attempt) => after === null || attempt.seq < after.seq || isBefore(after, attempt)).sort(byEvent));
    if (attempts.length > limit) return { attempts: attempts.slice(0, limit), next: keyOf(attempts[limit - 1]!) };
    through = seqs.length < EVENTS_PER_READ ? through - SPAN : seqs.at(-1)! - 1;
  }
  return { attempts, next: null };
}

type Place = { applicationId: string; itemId: number; lane: number; through: number };

/** Newest first; fewer than {@link EVENTS_PER_READ} when the span has no more. From the index alone. */
async function eventsOf(reader: Reader, { applicationId, itemId, lane, through }: Place): Promise<number[]> {
  const bounds = await segmentBounds(reader, lane, Math.max(0, through - SPAN), through);
  const rows = await reader.all<{ seq: number }>(sql`
    select seq from events where segment between ${bounds.from} and ${bounds.through} and application_id = ${applicationId}
      and lane = ${lane} and seq > ${through - SPAN} and seq <= ${through} and item_id = ${itemId}
    order by seq desc limit ${EVENTS_PER_READ}`);
  return rows.map(({ seq }) => seq);
}

type Wanted = AttemptRequest & { lane: number; seqs: readonly number[] };

async function attemptsOf(reader: Reader, { lane, seqs, endpointIds, filter }: Wanted): Promise<Attempt[]> {
  if (seqs.length === 0) return [];
  const bounds = await segmentBounds(reader, lane, seqs.at(-1)! - 1, seqs[0]!);
  const { type, outcome, status, since, until } = filter;
  const conditions: Sql[] = [
    ...(type === undefined ? [] : [sql` and type = ${type}`]),
    ...(outcome === undefined ? [] : [sql` and delivered = ${outcome === 'delivered' ? 1 : 0}`]),
    ...(status === undefined ? [] : [sql` and status = ${status}`]),
    ...(since === undefined ? [] : [sql` and at >= ${since}`]),
    ...(until === undefined ? [] : [sql` and at < ${until}`]),
  ];
  const rows = await reader.all<AttemptRow>(sql`
    select * from attempts where segment between ${bounds.from} and ${bounds.through} and lane = ${lane} and seq in ${sqlList(seqs)}
      and endpoint_id in ${sqlList(endpointIds)}${conditions.reduce((all, condition) => sql`${all}${condition}`, sql``)}`);
  return rows.map(attemptFromRow);
}

/** Before the attempts of this event and behind those of newer ones. */
function beforeEvent(lane: number, seq: number): AttemptKey {
  return { at: Number.MAX_SAFE_INTEGER, lane, seq, endpointId: '', source: 'live', replayId: '', n: 0 };
}
