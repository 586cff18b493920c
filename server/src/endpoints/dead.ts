/** Deliveries that died, told to operators once for each endpoint and minute: a dead receiver must not flood another. */
import { MINUTE_MS } from '../base/clock.ts';
import type { OperationalDraft } from '../events/catalogue.ts';
import { appendOperationalEvents } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import type { Storage, Writer } from '../storage/storage.ts';

/** Minutes that are told in one transaction. */
const MINUTES_PER_ROUND = 100;

/** In the transaction in which deliveries died, one row for each endpoint. Not for operational events: they raise none. */
export async function countDead(tx: Writer, now: number, deaths: ReadonlyMap<string, number>): Promise<void> {
  const minute = Math.floor(now / MINUTE_MS);
  await tx.insertMany(
    'dead_minutes',
    ['endpoint_id', 'minute', 'deaths'],
    [...deaths].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, count]) => [id, minute, count]),
    'on conflict (endpoint_id, minute) do update set deaths = dead_minutes.deaths + excluded.deaths',
  );
}

type DeadRow = { endpoint_id: string; minute: number; deaths: number; name: string; url: string };

/** Makes `pontage.delivery.dead` of the minutes that are over at `now`; answers how many events that were. */
export async function tellDead(storage: Storage, now: number): Promise<number> {
  const before = Math.floor(now / MINUTE_MS);
  const applications = await storage.all<{ id: string }>(
    sql`select distinct e.application_id as id from dead_minutes d join endpoints e on e.id = d.endpoint_id where d.minute < ${before}`,
  );
  let told = 0;
  // Each in a transaction of its own: it locks the head of one lane only.
  for (const { id } of applications) told += await tell(storage, id, before, now);
  return told;
}

/** The same of one application, with the minute of `now` itself: for a test clock that is about to pass over its end. */
export async function tellDeadOf(storage: Storage, applicationId: string, now: number): Promise<number> {
  const any = await storage.first(
    sql`select d.minute from dead_minutes d join endpoints e on e.id = d.endpoint_id where e.application_id = ${applicationId} limit 1`,
  );
  return any ? tell(storage, applicationId, Math.floor(now / MINUTE_MS) + 1, now) : 0;
}

async function tell(storage: Storage, id: string, before: number, now: number): Promise<number> {
  return storage.transaction(async (tx) => {
    const dead = await tx.all<DeadRow>(
      sql`select d.endpoint_id, d.minute, d.deaths, e.name, e.url from dead_minutes d join endpoints e on e.id = d.endpoint_id
            where e.application_id = ${id} and d.minute < ${before} order by d.minute, d.endpoint_id limit ${MINUTES_PER_ROUND}${storage.forUpdateSkipLocked}`,
    );
    for (const { endpoint_id, minute } of dead) {
      await tx.run(sql`delete from dead_minutes where endpoint_id = ${endpoint_id} and minute = ${minute}`);
    }
    await appendOperationalEvents(tx, { applicationId: id, refreshId: null, committedAt: now }, dead.map(draft));
    return dead.length;
  });
}

function draft({ endpoint_id, minute, deaths, name, url }: DeadRow): OperationalDraft {
  const given = deaths === 1 ? '1 delivery was' : `${deaths} deliveries were`;
  return {
    type: 'pontage.delivery.dead',
    cause: 'attempts',
    endpointId: endpoint_id,
    name,
    url,
    count: deaths,
    from: minute * MINUTE_MS,
    until: (minute + 1) * MINUTE_MS,
    reason: `${given} given up after the last attempt. Repair the receiver, then replay them.`,
  };
}
