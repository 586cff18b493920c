/** What an endpoint has still to get: events that it has not come to, and deliveries that wait or gave up. */
import { type Sql, sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';

/** Nobody needs to know more exactly how far behind an endpoint is, and counting on would read its whole history. */
export const COUNTED_MAX = 10_000;

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

export async function readBacklog(reader: Reader, endpoint: { id: string; applicationId: string }): Promise<Backlog> {
  const { id, applicationId } = endpoint;
  const lags = await reader.all<{ lane: number; settled: number; since: number }>(
    sql`select lane, settled, since from endpoint_positions where endpoint_id = ${id}`,
  );
  const states = ['retry', 'waiting', 'dead'] as const;
  const parts: Sql[] = states.map(
    (
      state,
    ) => sql`select ${state} as what, (select count(*) from (select 1 as one from parked where endpoint_id = ${id} and state = ${state}
      and replay_id = '' limit ${COUNTED_MAX}) as counted) as count`,
  );
  for (const { lane, settled } of lags) {
    parts.push(sql`select 'behind' as what, (select count(*) from (select 1 as one from events where application_id = ${applicationId}
      and lane = ${lane} and seq > ${settled} limit ${COUNTED_MAX}) as counted) as count`);
  }
  const rows = await reader.all<{ what: string; count: number }>(parts.reduce((all, part) => sql`${all} union all ${part}`));
  const count = (what: string) =>
    Math.min(
      COUNTED_MAX,
      rows.reduce((sum, row) => sum + (row.what === what ? row.count : 0), 0),
    );
  return {
    behind: count('behind'),
    behindSince: lags.length === 0 ? null : Math.min(...lags.map(({ since }) => since)),
    retry: count('retry'),
    waiting: count('waiting'),
    dead: count('dead'),
  };
}
