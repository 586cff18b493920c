/** What an endpoint has still to get: events that it has not come to, and deliveries that wait or gave up. */
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import { type Range, subtract } from '../lanes/position.ts';
import type { Parked } from './read.ts';

/** Nobody needs to know more exactly how far behind an endpoint is, and counting on would read its whole history. */
export const COUNTED_MAX = 10_000;
/** Stretches of the log that one statement counts: as many as there are lanes, which is all where nothing was settled ahead. */
const GAPS_PER_STATEMENT = 64;
/** A lane that an endpoint has not come to the end of has no last seq. */
const NO_END = Number.MAX_SAFE_INTEGER;

/** Each count ends at {@link COUNTED_MAX}. */
export type Backlog = {
  /** Events of its application, of all kinds, in lanes that it follows by itself: those of its own kinds are among them. */
  behind: number;
  /** Since when (epoch ms); null while it follows the newest events. */
  behindSince: number | null;
  retry: number;
  waiting: number;
  dead: number;
};

type Endpoint = { id: string; applicationId: string };

export async function readBacklog(reader: Reader, endpoint: Endpoint): Promise<Backlog> {
  const { behind, since } = await countBehind(reader, endpoint);
  return {
    behind,
    behindSince: since,
    retry: await countParked(reader, endpoint.id, 'retry'),
    waiting: await countParked(reader, endpoint.id, 'waiting'),
    dead: await countParked(reader, endpoint.id, 'dead'),
  };
}

/** SQLite answers without a pause, some 2 ms for a full count: the network has its turn after each statement. */
const turn = () => new Promise(setImmediate);

/** Events of its application that it has not come to, without those that were settled past one that hangs. */
export async function countBehind(
  reader: Reader,
  { id, applicationId }: Endpoint,
): Promise<Pick<Backlog, 'behind'> & { since: number | null }> {
  const lags = await reader.all<{ lane: number; settled: number; ahead: string; since: number }>(
    sql`select lane, settled, ahead, since from endpoint_positions where endpoint_id = ${id}`,
  );
  const gaps = lags.flatMap(({ lane, settled, ahead }) =>
    subtract([[settled + 1, NO_END]], JSON.parse(ahead) as Range[]).map(([first, last]) => ({ lane, first, last })),
  );
  let behind = 0;
  for (let from = 0; from < gaps.length && behind < COUNTED_MAX; from += GAPS_PER_STATEMENT) {
    const found = gaps.slice(from, from + GAPS_PER_STATEMENT).map(
      // Not by segment: on SQLite the index alone would not do, and each count took five times as long.
      ({ lane, first, last }) => sql`select 1 as one from events
        where application_id = ${applicationId} and lane = ${lane} and seq >= ${first} and seq <= ${last}`,
    );
    // One limit for all of them: with one for each lane a statement read 64 times as much.
    const row = await reader.first<{ count: number }>(
      sql`select count(*) as count from (${found.reduce((all, one) => sql`${all} union all ${one}`)} limit ${COUNTED_MAX - behind}) as counted`,
    );
    behind += row!.count;
    await turn();
  }
  return { behind, since: lags.length === 0 ? null : Math.min(...lags.map(({ since }) => since)) };
}

/** Of each endpoint that lags anywhere, off or on, by its id: what {@link countBehind} says. */
export async function countLags(reader: Reader): Promise<Map<string, number>> {
  const lagging = await reader.all<{ id: string; application_id: string }>(
    sql`select id, application_id from endpoints where deleted_at is null and id in (select endpoint_id from endpoint_positions)`,
  );
  const lags = new Map<string, number>();
  for (const { id, application_id: applicationId } of lagging) lags.set(id, (await countBehind(reader, { id, applicationId })).behind);
  return lags;
}

async function countParked(reader: Reader, endpointId: string, state: Parked['state']): Promise<number> {
  const row = await reader.first<{ count: number }>(
    sql`select count(*) as count from (select 1 as one from parked where endpoint_id = ${endpointId} and state = ${state}
        and replay_id = '' limit ${COUNTED_MAX}) as counted`,
  );
  await turn();
  return row!.count;
}
