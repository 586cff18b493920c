/** A webhook that gets nothing for longer than its owner finds likely, although banks were asked: told once. */
import { HOUR_MS } from '../base/clock.ts';
import { attemptKinds, isDelivered, newestOfKinds } from '../endpoints/attempt-kinds.ts';
import { appendOperationalEvents } from '../events/append.ts';
import { type OperationalDraft, TEST_EVENT } from '../events/catalogue.ts';
import { LANES } from '../events/log.ts';
import { readSegments } from '../events/segments.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Storage } from '../storage/storage.ts';

/** A refresh ends with `item.refreshed`: it is among the newest events of its lane. */
const NEWEST_LOOKED_AT = 10;

type Listening = {
  id: string;
  application_id: string;
  name: string;
  url: string;
  silent_after_ms: number;
  updated_at: number;
  silent_since: number | null;
};

/** Answers how many webhooks were found silent. A webhook that was changed or enabled has its time from then on. */
export async function watchSilence(storage: Storage, now: number): Promise<number> {
  const rows = await storage.all<Listening>(
    sql`select e.id, e.application_id, e.name, e.url, e.silent_after_ms, e.updated_at, h.silent_since
        from endpoints e left join endpoint_health h on h.endpoint_id = e.id
        where e.silent_after_ms is not null and e.enabled = 1 and e.deleted_at is null`,
  );
  const refreshed = new Map<string, boolean>();
  let found = 0;
  for (const row of rows) {
    // A receiver of odd answers has thousands of kinds of attempts to look at: others have their turn.
    await new Promise(setImmediate);
    const since = now - row.silent_after_ms;
    if (row.silent_since !== null) {
      if (await deliveredAfter(storage, row.id, row.silent_since)) await forget(storage, row.id);
      continue;
    }
    if (row.updated_at > since || (await deliveredAfter(storage, row.id, since))) continue;
    const key = `${row.application_id}/${since}`;
    const asked = refreshed.get(key) ?? (await refreshedAfter(storage, row.application_id, since));
    refreshed.set(key, asked);
    if (asked && (await tell(storage, row, now))) found += 1;
  }
  return found;
}

async function deliveredAfter(reader: Reader, endpointId: string, at: number): Promise<boolean> {
  return ((await lastDeliveredAt(reader, endpointId)) ?? Number.NEGATIVE_INFINITY) > at;
}

/** Null where nothing was; tests do not count. */
async function lastDeliveredAt(reader: Reader, endpointId: string): Promise<number | null> {
  const kinds = await attemptKinds(reader, [endpointId]);
  return newestOfKinds(
    reader,
    kinds.filter((kind) => isDelivered(kind) && kind.type !== TEST_EVENT),
  );
}

/** Lane by lane by the index on (application, lane, seq): the log has none by time, and a refresh now and then would not pay for it. */
async function refreshedAfter(reader: Reader, applicationId: string, at: number): Promise<boolean> {
  const first = (await readSegments(reader)).find(({ closedAt }) => closedAt === null || closedAt > at)?.segment ?? 0;
  for (let lane = 0; lane < LANES; lane += 1) {
    const newest = await reader.all<{ type: string; committed_at: number }>(
      sql`select type, committed_at from events where segment >= ${first} and application_id = ${applicationId} and lane = ${lane}
          order by seq desc limit ${NEWEST_LOOKED_AT}`,
    );
    if (newest.some(({ type, committed_at }) => type === 'item.refreshed' && committed_at > at)) return true;
  }
  return false;
}

/** False when another node was quicker. The health of deliveries shares the row and not the column. */
async function tell(storage: Storage, row: Listening, now: number): Promise<boolean> {
  return storage.transaction(async (tx) => {
    const told = await tx.run(
      sql`insert into endpoint_health (endpoint_id, revision, circuit, silent_since) values (${row.id}, 1, 'closed', ${now})
          on conflict (endpoint_id) do update set silent_since = excluded.silent_since where endpoint_health.silent_since is null`,
    );
    if (told === 0) return false;
    const draft = draftOf(row, await lastDeliveredAt(tx, row.id));
    await appendOperationalEvents(tx, { applicationId: row.application_id, refreshId: null, committedAt: now }, [draft]);
    return true;
  });
}

function draftOf({ id, name, url, silent_after_ms }: Listening, lastDeliveredAt: number | null): OperationalDraft {
  const hours = Math.max(1, Math.round(silent_after_ms / HOUR_MS));
  return {
    type: 'pontage.endpoint.silent',
    endpointId: id,
    name,
    url,
    lastDeliveredAt,
    silentAfterMs: silent_after_ms,
    reason: `Nothing was delivered for ${hours === 1 ? 'an hour' : `${hours} hours`}, although items were refreshed. Look at the events that the webhook asks for, and at its attempts.`,
  };
}

async function forget(storage: Storage, endpointId: string): Promise<void> {
  await storage.transaction((tx) => tx.run(sql`update endpoint_health set silent_since = null where endpoint_id = ${endpointId}`));
}
