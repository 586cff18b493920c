/**
 * The kinds of attempts that an endpoint has had: type, outcome and status. There are a few dozen, or thousands where a receiver
 * answers with a status of its own each time; the index of the attempt log has each in the order of time. So whoever wants attempts
 * by any of these chooses kinds first.
 */
import { sql, sqlTable } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';

/** `result` is the status (0 where there was none) * 2 + whether it was delivered: with the others, the key of the index. */
export type AttemptKind = { endpointId: string; type: string; result: number };

export const isDelivered = ({ result }: AttemptKind): boolean => result % 2 === 1;
/** Null where no answer came. */
export const statusOf = ({ result }: AttemptKind): number | null => Math.floor(result / 2) || null;

/** `result` of the attempt `a`: the third column of the index, as the migration writes it, for planners know an expression by its text. */
const KIND_RESULT = sql`cast(coalesce(a.status, 0) * 2 + a.delivered as bigint)`;
/** That the attempt `a` is of the kind `k` of {@link kindsTable}. */
export const OF_KIND = sql`a.endpoint_id = k.endpoint_id and a.type = k.type and ${KIND_RESULT} = k.result`;

/** For `from`, with the columns `endpoint_id`, `type` and `result`. */
export const kindsTable = sqlTable({ endpoint_id: 'text', type: 'text', result: 'bigint' });
export const kindRows = (kinds: readonly AttemptKind[]) =>
  kinds.map(({ endpointId, type, result }) => ({ endpoint_id: endpointId, type, result }));

/** One by one, with turns of the event loop between: not of several endpoints inside a transaction. */
export async function attemptKinds(reader: Reader, endpointIds: readonly string[]): Promise<AttemptKind[]> {
  const kinds: AttemptKind[] = [];
  for (const [index, endpointId] of endpointIds.entries()) {
    if (index > 0) await new Promise(setImmediate);
    kinds.push(...(await kindsOf(reader, endpointId)));
  }
  return kinds;
}

/** From each kind to the next by the index, passing over its attempts. */
async function kindsOf(reader: Reader, endpointId: string): Promise<AttemptKind[]> {
  const rows = await reader.all<{ endpoint_id: string; type: string; result: number }>(sql`
    with recursive types (endpoint_id, type) as (
      select e.id, (select min(a.type) from attempts a where a.endpoint_id = e.id) from endpoints e where e.id = ${endpointId}
      union all
      select t.endpoint_id, (select min(a.type) from attempts a where a.endpoint_id = t.endpoint_id and a.type > t.type)
      from types t where t.type is not null
    ), kinds (endpoint_id, type, result) as (
      select t.endpoint_id, t.type, (select min(${KIND_RESULT}) from attempts a
        where a.endpoint_id = t.endpoint_id and a.type = t.type) from types t where t.type is not null
      union all
      select k.endpoint_id, k.type, (select min(${KIND_RESULT}) from attempts a
        where a.endpoint_id = k.endpoint_id and a.type = k.type and ${KIND_RESULT} > k.result)
      from kinds k where k.result is not null
    )
    select endpoint_id, type, result from kinds where result is not null`);
  return rows.map(({ endpoint_id, type, result }) => ({ endpointId: endpoint_id, type, result }));
}

/** When the newest attempt of these kinds was made (epoch milliseconds); null where there is none. */
export async function newestOfKinds(reader: Reader, kinds: readonly AttemptKind[]): Promise<number | null> {
  if (kinds.length === 0) return null;
  const row = await reader.first<{ at: number | null }>(sql`
    select max(at) as at
    from (select (select max(a.at) from attempts a where ${OF_KIND}) as at from ${kindsTable(kindRows(kinds))} as k) as newest`);
  return row?.at ?? null;
}
