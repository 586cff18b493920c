/** Which events a replay sends: read along one lane in bounded steps. The same reading counts them before. */
import { type LoggedEvent, readEvents } from '../../events/log.ts';
import { sql, sqlList } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import { readStretch } from '../lanes/reader.ts';
import { type LaneRange, type ReplayFilter, rangesOf } from './replays.ts';

/** Events read at once: on SQLite the main thread is held for about a millisecond. */
const READ_LIMIT = 200;

/** Of one count for a start, whose caller waits: no more than half a second. Each of the 64 lanes takes one at least. */
export const READS_FOR_START_MAX = 128;
/** Of one count for its own sake: 200,000 events, and some seconds. */
export const READS_FOR_DRY_RUN_MAX = 1_000;

/** `replayId` is empty for one that is only counted. */
export type Selection = { replayId: string; applicationId: string; endpointId: string; filter: ReplayFilter };
/** `read` is how far the reading came: nothing up to there is left. */
export type Selected = { events: LoggedEvent[]; read: number };

/** The next events of a lane, at most {@link READ_LIMIT}; none may be among them, and `read` below `through` all the same. */
export async function readSelected(reader: Reader, selection: Selection, { lane, position, through }: LaneRange): Promise<Selected> {
  const { applicationId, endpointId, filter } = selection;
  const scanned =
    filter.kind === 'dead'
      ? await readDead(reader, endpointId, { lane, position, through })
      : (await readStretch(reader, { applicationId, lane, afterSeq: position, throughSeq: through, limit: READ_LIMIT })).events;
  const last = scanned.at(-1);
  const read = scanned.length < READ_LIMIT || !last ? through : last.seq;
  const events = scanned.filter((event): event is LoggedEvent => 'id' in event && isWanted(event, selection));
  return { events: await withoutSettled(reader, selection, events), read };
}

/** Those whose event retention or an erasure took are only places. */
async function readDead(
  reader: Reader,
  endpointId: string,
  { lane, position, through }: LaneRange,
): Promise<(LoggedEvent | { seq: number })[]> {
  const rows = await reader.all<{ seq: number }>(
    sql`select seq from parked where endpoint_id = ${endpointId} and state = 'dead' and lane = ${lane} and seq > ${position}
        and seq <= ${through} and replay_id = '' order by seq limit ${READ_LIMIT}`,
  );
  if (rows.length === 0) return [];
  const events = await readEvents(
    reader,
    lane,
    rows.map(({ seq }) => seq),
  );
  const bySeq = new Map(events.map((event) => [event.seq, event]));
  return rows.map(({ seq }) => bySeq.get(seq) ?? { seq });
}

/** Matching ignores which kinds the endpoint had asked for at the time: a new one can be given what came before it. */
function isWanted(event: LoggedEvent, { applicationId, endpointId, filter }: Selection): boolean {
  if (event.erased || event.applicationId !== applicationId || event.aboutEndpointId === endpointId) return false;
  // A test event has one addressee, and is nothing that was missed.
  if (event.endpointId !== null && (filter.kind === 'range' || event.endpointId !== endpointId)) return false;
  if (filter.kind !== 'range') return true;
  const { since, until, types, itemIds } = filter;
  return (
    (since === null || event.committedAt >= since) &&
    (until === null || event.committedAt < until) &&
    (types === null || types.includes(event.type)) &&
    (itemIds === null || (event.itemId !== null && itemIds.includes(event.itemId)))
  );
}

type AttemptPlace = { seq: number; delivered: number; replay_id: string };

/** Without what this replay has sent before a restart, and by what became of the others. */
async function withoutSettled(reader: Reader, selection: Selection, events: readonly LoggedEvent[]): Promise<LoggedEvent[]> {
  const { replayId, endpointId, filter } = selection;
  const outcome = filter.kind === 'dead' ? 'failed' : filter.kind === 'range' ? filter.outcome : null;
  if (events.length === 0 || (outcome === null && replayId === '')) return [...events];
  const first = events[0]!;
  const segments = [...new Set(events.map(({ segment }) => segment))];
  const rows = await reader.all<AttemptPlace>(
    sql`select seq, delivered, replay_id from attempts where segment in ${sqlList(segments)} and lane = ${first.lane}
        and seq >= ${first.seq} and seq <= ${events.at(-1)!.seq} and endpoint_id = ${endpointId}`,
  );
  const sent = new Set(rows.filter((row) => replayId !== '' && row.replay_id === replayId).map(({ seq }) => seq));
  const delivered = new Set(rows.filter((row) => row.delivered === 1).map(({ seq }) => seq));
  return events.filter(({ seq }) => !sent.has(seq) && (outcome === null || delivered.has(seq) === (outcome === 'delivered')));
}

/** `total` is null where more was left to read than may be; `atLeast` is what was counted. */
export type Counted = { total: number | null; atLeast: number; ranges: LaneRange[] };

/** How many it would send now, and where it would look for them. Others have their turn between the steps. */
export async function countSelected(
  reader: Reader,
  selection: Omit<Selection, 'replayId'>,
  readsMax = READS_FOR_START_MAX,
): Promise<Counted> {
  const ranges = await rangesOf(reader, selection.filter);
  let total = 0;
  let reads = 0;
  for (const range of ranges) {
    let { position } = range;
    while (position < range.through) {
      if (reads === readsMax) return { total: null, atLeast: total, ranges };
      reads += 1;
      const { events, read } = await readSelected(reader, { ...selection, replayId: '' }, { ...range, position });
      total += events.length;
      position = read;
      await new Promise(setImmediate);
    }
  }
  return { total, atLeast: total, ranges };
}
