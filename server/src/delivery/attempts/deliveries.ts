/** The deliveries of one endpoint that wait or were given up, lane by lane: live ones, without those of replays. */
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import type { Parked } from './read.ts';

/** Of one statement after the first, which reads a page: 2 to 4 ms of the main thread on SQLite. */
export const ROWS_PER_READ = 500;
/** Of one page: what replays have given up lies between, and can be all that there is. */
export const READS_MAX = 20;

export type Place = { lane: number; seq: number };
export type ParkedDelivery = Place & Omit<Parked, 'endpointId' | 'replayId'> & { type: string; itemId: number | null };
export type DeliveryPage = { deliveries: ParkedDelivery[]; next: Place | null };
export type DeliveryRequest = { endpointId: string; state: Parked['state']; after: Place | null; limit: number };

type Row = {
  lane: number;
  seq: number;
  replay_id: string;
  item_id: number | null;
  type: string;
  attempts: number;
  due_at: number | null;
  parked_at: number;
};

/** Of a place the live delivery comes first, so that whatever was read there, it was too. */
const BEGINNING: Place = { lane: -1, seq: 0 };

/** By lane and seq, after `after`. A page can be short, or empty, and have a `next`, where very many of replays lie between. */
export async function listDeliveries(reader: Reader, { endpointId, state, after, limit }: DeliveryRequest): Promise<DeliveryPage> {
  const deliveries: ParkedDelivery[] = [];
  let last = after ?? BEGINNING;
  for (let reads = 0; reads < READS_MAX; reads += 1) {
    // Requests and deliveries have their turn.
    if (reads > 0) await new Promise(setImmediate);
    const count = reads === 0 ? limit + 1 : ROWS_PER_READ;
    // Not only live ones: to find those the index would be read through all the others.
    const rows = await reader.all<Row>(sql`
      select lane, seq, replay_id, item_id, type, attempts, due_at, parked_at from parked
      where endpoint_id = ${endpointId} and state = ${state} and (lane, seq) > (${last.lane}, ${last.seq})
      order by lane, seq, replay_id limit ${count}`);
    for (const row of rows) if (row.replay_id === '') deliveries.push(fromRow(row, state));
    if (deliveries.length > limit) return { deliveries: deliveries.slice(0, limit), next: placeOf(deliveries[limit - 1]!) };
    if (rows.length < count) return { deliveries, next: null };
    last = placeOf(rows.at(-1)!);
  }
  return { deliveries, next: last };
}

const placeOf = ({ lane, seq }: Place): Place => ({ lane, seq });

function fromRow(row: Row, state: Parked['state']): ParkedDelivery {
  return {
    lane: row.lane,
    seq: row.seq,
    type: row.type,
    itemId: row.item_id,
    state,
    attempts: row.attempts,
    dueAt: row.due_at,
    parkedAt: row.parked_at,
  };
}
