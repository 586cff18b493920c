/**
 * Which endpoints an event was for, worked out from the versions alone: apart from the code that delivers by them, so
 * that a fault there is seen here.
 */
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';

type Version = { types: ReadonlySet<string>; from: readonly number[] };
export type Member = { id: string; deleted: boolean; newestFirst: readonly Version[] };
export type Membership = ReadonlyMap<string, readonly Member[]>;
export type AuditedEvent = {
  lane: number;
  seq: number;
  application_id: string;
  type: string;
  endpoint_id: string | null;
  about_endpoint_id: string | null;
  erased: number;
  item_id: number | null;
  committed_at: number;
};

type Row = { id: string; application_id: string; deleted_at: number | null; events: string; matching: number; from_positions: string };

/** Endpoints by application, those that are deleted too. */
export async function readMembership(reader: Reader): Promise<Membership> {
  const rows = await reader.all<Row>(
    sql`select e.id, e.application_id, e.deleted_at, v.events, v.matching, v.from_positions
        from endpoint_versions v join endpoints e on e.id = v.endpoint_id order by v.endpoint_id, v.version desc`,
  );
  const members = [...Map.groupBy(rows, ({ id }) => id)].map(([id, versions]) => ({
    id,
    applicationId: versions[0]!.application_id,
    deleted: versions[0]!.deleted_at !== null,
    newestFirst: versions.map((row) => ({
      types: new Set(row.matching === 1 ? (JSON.parse(row.events) as string[]) : []),
      from: JSON.parse(row.from_positions) as number[],
    })),
  }));
  return Map.groupBy(members, ({ applicationId }) => applicationId);
}

/** Test events have one addressee, whatever it asks for, and stand apart. */
export function membersOf(membership: Membership, event: AuditedEvent): Member[] {
  if (event.endpoint_id !== null) return [];
  return (membership.get(event.application_id) ?? []).filter(({ id, newestFirst }) => {
    const version = newestFirst.find(({ from }) => event.seq > from[event.lane]!);
    return id !== event.about_endpoint_id && version !== undefined && version.types.has(event.type);
  });
}
