/** What waits in the database to be delivered, on all nodes, in numbers. */
import { sql } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';
import { countLags } from './attempts/backlog.ts';

/** Of each kind: counting on would hold SQLite's thread for as long as it takes to read a table of millions. */
const PARKED_COUNTED_MAX = 100_000;

/** `lag`: events that each lagging endpoint has before it, by id, as far as {@link countLags} counts. `parked`: deliveries by state, to {@link PARKED_COUNTED_MAX}. */
export type DeliveryGauges = { lag: ReadonlyMap<string, number>; parked: ReadonlyMap<string, number> };

export async function readGauges(reader: Reader): Promise<DeliveryGauges> {
  const [lag, parked] = await Promise.all([
    countLags(reader),
    reader.all<{ state: string; deliveries: number }>(
      sql`select state, count(*) as deliveries
          from (select state from parked where state <> 'dead' limit ${PARKED_COUNTED_MAX}) as open group by state
          union all
          select 'dead' as state, count(*) as deliveries
          from (select 1 as one from parked where state = 'dead' limit ${PARKED_COUNTED_MAX}) as dead having count(*) > 0`,
    ),
  ]);
  return {
    lag,
    parked: new Map(parked.map(({ state, deliveries }) => [state, deliveries])),
  };
}
