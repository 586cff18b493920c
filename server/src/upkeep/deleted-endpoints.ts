/**
 * What deleted webhooks have left in `parked`: a receiver that was down for weeks leaves millions of rows, which would hold up
 * everybody else if they went with the webhook. Nothing is remembered of it: whatever stands there is found by each round, also
 * what a crash has left, and what a server wrote before it knew of the deletion.
 */
import { sql } from '../storage/sql.ts';
import type { Reader, Storage } from '../storage/storage.ts';
import { ROWS_PER_DELETE, type Turns } from './batches.ts';

/** Takes it all, or as much as it may. Answers how many rows went. Safe on several nodes at once. */
export async function forgetDeletedEndpoints({ storage, pause, mayGoOn }: { storage: Storage } & Turns): Promise<number> {
  let deleted = 0;
  for (const endpointId of await findDeleted(storage)) {
    for (let after: Place | null = BEGINNING; after !== null && mayGoOn(); ) {
      const places: readonly Place[] = await takeNext(storage, endpointId, after);
      deleted += places.length;
      after = places.length < ROWS_PER_DELETE ? null : places.reduce(later);
      if (after) await pause();
    }
  }
  return deleted;
}

/** By one look at the index for each webhook that has something parked, however much that is. */
async function findDeleted(reader: Reader): Promise<string[]> {
  const rows = await reader.all<{ id: string }>(sql`
    with recursive listed (id) as (
      select min(endpoint_id) from parked
      union all
      select (select min(parked.endpoint_id) from parked where parked.endpoint_id > listed.id) from listed where listed.id is not null
    )
    select endpoints.id from listed join endpoints on endpoints.id = listed.id where endpoints.deleted_at is not null`);
  return rows.map(({ id }) => id);
}

type Place = { lane: number; seq: number; replay_id: string };
const BEGINNING: Place = { lane: -1, seq: 0, replay_id: '' };

/**
 * In the order of the key and beyond what went before: PostgreSQL would read all that is deleted once more for each step. A row
 * that a server is just writing is left to the next round.
 */
async function takeNext(storage: Storage, endpointId: string, { lane, seq, replay_id }: Place): Promise<Place[]> {
  return storage.transaction((tx) =>
    tx.all<Place>(sql`
      delete from parked where endpoint_id = ${endpointId} and (lane, seq, replay_id) in (
        select lane, seq, replay_id from parked
        where endpoint_id = ${endpointId} and (lane, seq, replay_id) > (${lane}, ${seq}, ${replay_id})
        order by lane, seq, replay_id limit ${ROWS_PER_DELETE}${storage.forUpdateSkipLocked}
      ) returning lane, seq, replay_id`),
  );
}

function later(a: Place, b: Place): Place {
  if (a.lane !== b.lane) return a.lane > b.lane ? a : b;
  if (a.seq !== b.seq) return a.seq > b.seq ? a : b;
  return a.replay_id > b.replay_id ? a : b;
}
