/** How the deliveries of an application stand, in numbers. */
import { type AttemptKind, attemptKinds, isDelivered, kindRows, kindsTable, OF_KIND } from '../../endpoints/attempt-kinds.ts';
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';

/** Counted from the rows: `waiting` now, the others since `since` (epoch milliseconds, real). */
export type DeliveryCounts = { attempts: number; delivered: number; waiting: number; dead: number };

export async function countDeliveries(reader: Reader, applicationId: string, since: number): Promise<DeliveryCounts> {
  const endpoints = await reader.all<{ id: string }>(sql`select id from endpoints where application_id = ${applicationId}`);
  const kinds = await attemptKinds(
    reader,
    endpoints.map(({ id }) => id),
  );
  const [made, parked] = await Promise.all([
    countAttempts(reader, kinds, since),
    reader.first<{ waiting: number | null; dead: number | null }>(
      sql`select sum(case when state <> 'dead' then 1 else 0 end) as waiting, sum(case when state = 'dead' then 1 else 0 end) as dead
          from parked where replay_id = '' and endpoint_id in (select id from endpoints where application_id = ${applicationId} and deleted_at is null)`,
    ),
  ]);
  const sum = (counted: typeof made) => counted.reduce((total, { attempts }) => total + attempts, 0);
  return {
    attempts: sum(made),
    delivered: sum(made.filter(isDelivered)),
    waiting: Number(parked?.waiting ?? 0),
    dead: Number(parked?.dead ?? 0),
  };
}

type CountedKind = AttemptKind & { attempts: number };

/** Those of replays left out. */
async function countAttempts(reader: Reader, kinds: readonly AttemptKind[], since: number): Promise<CountedKind[]> {
  const rows = await reader.all<{ endpoint_id: string; type: string; result: number; attempts: number }>(
    sql`select k.endpoint_id, k.type, k.result,
          (select count(*) from attempts a where ${OF_KIND} and a.at >= ${since} and a.source <> 'replay') as attempts
        from ${kindsTable(kindRows(kinds))} as k`,
  );
  return rows.map(({ endpoint_id, ...row }) => ({ endpointId: endpoint_id, ...row }));
}
