/** What stands about the events of one page: attempts, parked rows, positions, skipped ranges. */
import { itemsBeingErased } from '../../events/erase.ts';
import { segmentBounds } from '../../events/segments.ts';
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import type { Position } from '../lanes/position.ts';
import { readPositions } from '../lanes/reader.ts';
import type { Traces } from './classes.ts';
import type { AuditedEvent, Member } from './membership.ts';

export type Standing = {
  laneSettled: number;
  positions: ReadonlyMap<string, Position>;
  /** By `endpoint/seq`. */
  parked: ReadonlyMap<string, 'retry' | 'waiting' | 'dead'>;
  delivered: ReadonlyMap<string, 'itself' | 'replayed'>;
  /** Items whose events become tombstones, and are not sent any more. */
  erasing: ReadonlySet<number>;
  skipped: ReadonlyMap<string, readonly { after_seq: number; through_seq: number; reason: 'skipped' | 'expired' }[]>;
};

/**
 * Deliveries go on while this reads, so the order matters. A pair moves from in flight or lagging to parked or skipped,
 * and from anywhere to delivered; read in that order, one that moves is met before its move or after it, never missed.
 */
export async function readStanding(
  reader: Reader,
  { lane, after, through }: { lane: number; after: number; through: number },
): Promise<Standing> {
  const lease = await reader.first<{ settled: number }>(sql`select settled from lane_leases where lane = ${lane}`);
  const positions = await readPositions(reader, lane);
  const parked = await reader.all<{ endpoint_id: string; seq: number; state: 'retry' | 'waiting' | 'dead' }>(
    sql`select endpoint_id, seq, state from parked where lane = ${lane} and seq > ${after} and seq <= ${through} and replay_id = ''`,
  );
  const bounds = await segmentBounds(reader, lane, after, through);
  const delivered = await reader.all<{ endpoint_id: string; seq: number; source: string }>(
    sql`select endpoint_id, seq, source from attempts where segment between ${bounds.from} and ${bounds.through}
        and lane = ${lane} and seq > ${after} and seq <= ${through} and delivered = 1 and source <> 'test'`,
  );
  const skipped = await reader.all<{ endpoint_id: string; after_seq: number; through_seq: number; reason: 'skipped' | 'expired' }>(
    sql`select endpoint_id, after_seq, through_seq, reason from skipped where lane = ${lane} and after_seq < ${through} and through_seq > ${after}`,
  );
  const byPair = new Map<string, 'itself' | 'replayed'>();
  for (const { endpoint_id, seq, source } of delivered) {
    const key = `${endpoint_id}/${seq}`;
    if (source !== 'replay') byPair.set(key, 'itself');
    else if (!byPair.has(key)) byPair.set(key, 'replayed');
  }
  return {
    laneSettled: lease?.settled ?? 0,
    positions: new Map(positions.map((row) => [row.endpointId, row])),
    parked: new Map(parked.map((row) => [`${row.endpoint_id}/${row.seq}`, row.state])),
    delivered: byPair,
    erasing: await itemsBeingErased(reader),
    skipped: Map.groupBy(skipped, ({ endpoint_id }) => endpoint_id),
  };
}

export function tracesOf(standing: Standing, event: AuditedEvent, member: Member): Traces {
  const key = `${member.id}/${event.seq}`;
  const range = standing.skipped.get(member.id)?.find(({ after_seq, through_seq }) => event.seq > after_seq && event.seq <= through_seq);
  return {
    seq: event.seq,
    delivered: standing.delivered.get(key) ?? null,
    parked: standing.parked.get(key) ?? null,
    erased: event.erased === 1 || (event.item_id !== null && standing.erasing.has(event.item_id)),
    skipped: range?.reason ?? null,
    endpointDeleted: member.deleted,
    position: standing.positions.get(member.id) ?? null,
    laneSettled: standing.laneSettled,
  };
}
