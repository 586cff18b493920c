/** A log that is long enough for the planner to choose as it does in production: events, and their attempts, by a few statements. */
import { laneOf } from '../../src/events/log.ts';
import { sql, sqlTable } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { makePartitions } from '../../src/upkeep/partitions.ts';

export type FilledLog = {
  applicationId: string;
  endpointIds: readonly string[];
  /** Each gets one attempt of each webhook, but for every 50th, which gets a failure before its success. */
  events: number;
  /** Cuts the log into equal ones. */
  segments: number;
  /** Of the first event (epoch milliseconds); each further one is {@link EVENT_STEP_MS} later. */
  startsAt: number;
};

export const EVENT_STEP_MS = 10;
/** Most events are of these; {@link RARE_ITEM} has three, the first, the last and one in the middle. */
export const COMMON_ITEMS = 200;
export const RARE_ITEM = 4_999_999;
/** The kind and the answer of the first event, and of no other. */
export const RARE_TYPE = 'item.account.deleted';
export const RARE_STATUS = 410;

const itemsTable = sqlTable({ at: 'bigint', item_id: 'bigint', lane: 'bigint' });

/** Statistics are there afterwards. */
export async function fillLog(storage: Storage, { applicationId, endpointIds, events, segments, startsAt }: FilledLog): Promise<void> {
  await makePartitions(storage, 1, segments);
  const items = Array.from({ length: COMMON_ITEMS }, (_, at) => ({ at, item_id: 4_000_000 + at, lane: laneOf(`item:${4_000_000 + at}`) }));
  const rare = laneOf(`item:${RARE_ITEM}`);
  const perSegment = Math.ceil(events / segments);
  await storage.transaction(async (tx) => {
    await tx.run(sql`
      insert into events (segment, lane, seq, application_id, type, item_id, content, timestamp, committed_at)
      with recursive items (at, item_id, lane) as materialized (select at, item_id, lane from ${itemsTable(items)} as items),
        numbers (i) as (select cast(0 as bigint) union all select i + 1 from numbers where i + 1 < ${events}),
        placed as (
          select i, case when i in (0, ${Math.floor(events / 2)}, ${events - 1}) then ${rare} else lane end as lane,
            case when i in (0, ${Math.floor(events / 2)}, ${events - 1}) then ${RARE_ITEM} else item_id end as item_id
          from numbers join items on items.at = i % ${COMMON_ITEMS}
        )
      select 1 + i / cast(${perSegment} as bigint), lane, row_number() over (partition by lane order by i), cast(${applicationId} as text),
        case when i = 0 then ${RARE_TYPE} when i % 100 = 3 then 'item.created' when i % 5 < 3 then 'item.refreshed' else 'item.account.updated' end,
        item_id, '{}', cast(${startsAt} as bigint) + i * cast(${EVENT_STEP_MS} as bigint), cast(${startsAt} as bigint) + i * cast(${EVENT_STEP_MS} as bigint)
      from placed`);
    for (const endpointId of endpointIds) {
      for (const delivered of [0, 1]) {
        const n = 1 + delivered;
        const number = sql`(committed_at - ${startsAt}) / ${EVENT_STEP_MS}`;
        await tx.run(sql`
          insert into attempts (segment, lane, seq, endpoint_id, source, n, at, delivered, status, duration_ms, type, item_id)
          select segment, lane, seq, cast(${endpointId} as text), 'live', cast(${n} as bigint), committed_at + ${n}, cast(${delivered} as bigint),
            case when ${delivered} = 1 then 200 when ${number} = 0 then ${RARE_STATUS} else 503 end, 12.5, type, item_id
          from events where application_id = ${applicationId} and (${delivered} = 1 or ${number} % 50 = 0)`);
      }
    }
    for (let segment = 2; segment <= segments; segment += 1) {
      const starts = await tx.all<{ lane: number; before: number }>(
        sql`select lane, max(seq) as before from events where segment < ${segment} group by lane`,
      );
      const byLane = new Map(starts.map(({ lane, before }) => [lane, before]));
      const list = JSON.stringify(Array.from({ length: 64 }, (_, lane) => byLane.get(lane) ?? 0));
      const openedAt = startsAt + (segment - 1) * perSegment * EVENT_STEP_MS;
      await tx.run(sql`update segments set closed_at = ${openedAt} where segment = ${segment - 1}`);
      await tx.run(sql`insert into segments (segment, starts, opened_at) values (${segment}, ${list}, ${openedAt})`);
    }
    await tx.run(
      sql`update lane_heads set segment = ${segments}, head = coalesce((select max(seq) from events where events.lane = lane_heads.lane), 0)`,
    );
    await tx.run(sql`update lane_leases set settled = (select head from lane_heads where lane_heads.lane = lane_leases.lane)`);
    await tx.run(sql`analyze`);
  });
}
