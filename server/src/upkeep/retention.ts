/**
 * Retention: the oldest segment of the log goes as a whole, with the attempts and the parked rows that belong to it.
 * Its hours are audited and frozen first. Each step can be repeated: after a crash the next round goes on where it was.
 */
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { appendOperationalEvents } from '../events/append.ts';
import type { OperationalDraft } from '../events/catalogue.ts';
import { laneOf } from '../events/log.ts';
import { readSegments, type Segment } from '../events/segments.ts';
import { type Sql, sql, sqlList } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';
import { deleteInBatches, ROWS_PER_DELETE, type Turns } from './batches.ts';
import { dropPartitions } from './partitions.ts';
import type { Moment } from './steadiness.ts';

/** What an endpoint has not had yet is kept longer than the rest, but not for ever. */
export const OWED_DAYS_MAX = 90;

/** One endpoint and hour of a segment, as the audit counts them. `hour` is epoch milliseconds / 3,600,000, rounded down. */
export type HourCounts = {
  endpointId: string;
  hour: number;
  matched: number;
  delivered: number;
  dead: number;
  skipped: number;
  expired: number;
  erased: number;
};

export type RetentionServices = Turns & {
  storage: Storage;
  retentionDays: number;
  /** The audit of one segment that nothing is owed of any more; null when `turn` answered false. */
  auditSegment: (segment: Segment, ends: readonly number[], turn: () => Promise<boolean>) => Promise<HourCounts[] | null>;
};

export type Retired =
  | { outcome: 'nothing' | 'stopped' | 'locked' }
  /** Older than retention, and still owed to an endpoint. */
  | { outcome: 'kept'; segment: number }
  /** `unbalanced`: hours in which the audit missed something, frozen as they were found. */
  | { outcome: 'retired'; segment: number; expired: number; unbalanced: number };

/** Takes the oldest segment if its time has come; at most one for each call. */
export async function retireOldest(services: RetentionServices, { now, believed }: Moment): Promise<Retired> {
  const { storage, mayGoOn } = services;
  const [oldest, next] = await readSegments(storage);
  if (!oldest || !next || oldest.closedAt === null) return { outcome: 'nothing' };
  const { segment } = oldest;
  let expired = 0;
  let unbalanced = 0;
  if (oldest.frozenAt === null) {
    const ageMs = believed - oldest.closedAt;
    if (ageMs < services.retentionDays * DAY_MS) return { outcome: 'nothing' };
    const debt = await readDebt(storage, segment, next.starts);
    const tooOld = ageMs >= Math.max(OWED_DAYS_MAX, services.retentionDays) * DAY_MS;
    if (debt === 'in flight' || (debt === 'owed' && !tooOld)) return { outcome: 'kept', segment };
    if (debt === 'owed') await expire(storage, next.starts, now);
    const hours = await services.auditSegment(oldest, next.starts, async () => {
      await services.pause();
      return mayGoOn();
    });
    if (!hours) return { outcome: 'stopped' };
    expired = await freeze(storage, segment, hours, now);
    unbalanced = hours.filter((hour) => !isBalanced(hour)).length;
  }
  if (storage.maintain) {
    if (!(await dropPartitions(storage, segment))) return { outcome: 'locked' };
  } else if (!(await deleteRows(services, next.starts))) return { outcome: 'stopped' };
  if (!(await deleteTraces(services, next.starts))) return { outcome: 'stopped' };
  await storage.transaction((tx) => tx.run(sql`delete from segments where segment = ${segment}`));
  return { outcome: 'retired', segment, expired, unbalanced };
}

function isBalanced({ matched, delivered, dead, skipped, expired, erased }: HourCounts): boolean {
  return matched === delivered + dead + skipped + expired + erased;
}

/**
 * What of the events up to `ends` has still to be sent. `in flight` are those that no endpoint lags behind and that
 * delivery has not come to: it will, as soon as a server runs, however old they are.
 */
async function readDebt(reader: Reader, segment: number, ends: readonly number[]): Promise<'none' | 'owed' | 'in flight'> {
  const leases = await reader.all<{ lane: number; settled: number }>(sql`select lane, settled from lane_leases`);
  if (leases.some(({ lane, settled }) => settled < ends[lane]!)) return 'in flight';
  for (const { application_id, lane, settled } of await readPositions(reader)) {
    if (settled >= ends[lane]!) continue;
    const event = await reader.first(
      sql`select seq from events where segment <= ${segment} and application_id = ${application_id} and lane = ${lane} and seq > ${settled} and seq <= ${ends[lane]!} limit 1`,
    );
    if (event) return 'owed';
  }
  for (const [lane, end] of ends.entries()) {
    const waiting = await reader.first(
      sql`select seq from parked where lane = ${lane} and seq <= ${end} and state in ('retry', 'waiting') limit 1`,
    );
    if (waiting) return 'owed';
  }
  return 'none';
}

type PositionRow = { endpoint_id: string; application_id: string; lane: number; settled: number };

function readPositions(reader: Reader): Promise<PositionRow[]> {
  return reader.all<PositionRow>(
    sql`select p.endpoint_id, e.application_id, p.lane, p.settled from endpoint_positions p join endpoints e on e.id = p.endpoint_id
        where e.deleted_at is null`,
  );
}

/**
 * Gives up what is owed of the events up to `ends`. The positions stay with the owners of their lanes, who find
 * nothing there and go on behind it.
 */
async function expire(storage: Storage, ends: readonly number[], now: number): Promise<void> {
  const positions = await readPositions(storage);
  for (const [lane, end] of ends.entries()) {
    const behind = positions.filter((position) => position.lane === lane && position.settled < end);
    await storage.transaction(async (tx) => {
      await tx.insertMany(
        'skipped',
        ['endpoint_id', 'lane', 'after_seq', 'through_seq', 'reason', 'at'],
        behind.map(({ endpoint_id, settled }) => [endpoint_id, lane, settled, end, 'expired', now]),
        `on conflict (endpoint_id, lane, after_seq) do update set through_seq = excluded.through_seq, reason = excluded.reason
           where skipped.through_seq < excluded.through_seq`,
      );
      await tx.run(
        sql`insert into skipped (endpoint_id, lane, after_seq, through_seq, reason, at)
            select endpoint_id, lane, seq - 1, seq, 'expired', cast(${now} as bigint) from parked
            where lane = ${lane} and seq <= ${end} and state in ('retry', 'waiting') and replay_id = ''
            on conflict do nothing`,
      );
      await tx.run(sql`delete from parked where lane = ${lane} and seq <= ${end} and state in ('retry', 'waiting')`);
    });
  }
}

/**
 * The audit's counts stand for good, and what expired is told: in one transaction, so that a crash repeats neither.
 * Answers the number of expired deliveries.
 */
async function freeze(storage: Storage, segment: number, hours: readonly HourCounts[], now: number): Promise<number> {
  return storage.transaction(async (tx) => {
    const frozen = await tx.run(sql`update segments set frozen_at = ${now} where segment = ${segment} and frozen_at is null`);
    if (frozen === 0) return 0;
    // An hour may have begun in the segment before.
    await tx.insertMany(
      'audited_hours',
      ['endpoint_id', 'hour', 'matched', 'delivered', 'dead', 'skipped', 'expired', 'erased'],
      hours.map((row) => [row.endpointId, row.hour, row.matched, row.delivered, row.dead, row.skipped, row.expired, row.erased]),
      `on conflict (endpoint_id, hour) do update set matched = audited_hours.matched + excluded.matched,
         delivered = audited_hours.delivered + excluded.delivered, dead = audited_hours.dead + excluded.dead,
         skipped = audited_hours.skipped + excluded.skipped, expired = audited_hours.expired + excluded.expired,
         erased = audited_hours.erased + excluded.erased`,
    );
    return tellExpired(tx, hours, now);
  });
}

type Named = { id: string; application_id: string; name: string; url: string };

async function tellExpired(tx: Writer, hours: readonly HourCounts[], now: number): Promise<number> {
  const byEndpoint = Map.groupBy(
    hours.filter(({ expired }) => expired > 0),
    ({ endpointId }) => endpointId,
  );
  const endpoints = await tx.all<Named>(
    sql`select id, application_id, name, url from endpoints where deleted_at is null and id in ${sqlList([...byEndpoint.keys()])}`,
  );
  // Heads are locked in ascending order, as all writers do.
  const byLane = [...Map.groupBy(endpoints, (row) => row.application_id)].sort(
    ([a], [b]) => laneOf(`application:${a}`) - laneOf(`application:${b}`),
  );
  for (const [applicationId, named] of byLane) {
    const drafts = named.map((row) => expiredDraft(row, byEndpoint.get(row.id)!));
    await appendOperationalEvents(tx, { applicationId, refreshId: null, committedAt: now }, drafts);
  }
  return hours.reduce((sum, { expired }) => sum + expired, 0);
}

function expiredDraft({ id, name, url }: Named, hours: readonly HourCounts[]): OperationalDraft {
  const count = hours.reduce((sum, { expired }) => sum + expired, 0);
  return {
    type: 'pontage.delivery.dead',
    cause: 'expired',
    endpointId: id,
    name,
    url,
    count,
    from: Math.min(...hours.map(({ hour }) => hour)) * HOUR_MS,
    until: (Math.max(...hours.map(({ hour }) => hour)) + 1) * HOUR_MS,
    reason: `${count === 1 ? '1 event has' : `${count} events have`} waited longer than ${OWED_DAYS_MAX} days for this webhook and cannot be sent any more.`,
  };
}

/** SQLite, which has no partitions to drop. */
function deleteRows(services: RetentionServices, ends: readonly number[]): Promise<boolean> {
  return deleteLanes(services, ends, (lane, end, limit) => [
    sql`delete from attempts where rowid in (select rowid from attempts where lane = ${lane} and seq <= ${end} limit ${limit})`,
    sql`delete from events where rowid in (select rowid from events where lane = ${lane} and seq <= ${end} limit ${limit})`,
  ]);
}

/** Deliveries that died, without their event they cannot be sent again; and the ranges that tell why others were not sent. */
function deleteTraces(services: RetentionServices, ends: readonly number[]): Promise<boolean> {
  return deleteLanes(services, ends, (lane, end, limit) => [
    sql`delete from parked where (endpoint_id, lane, seq, replay_id) in (
          select endpoint_id, lane, seq, replay_id from parked where lane = ${lane} and seq <= ${end} limit ${limit})`,
    sql`delete from skipped where (endpoint_id, lane, after_seq) in (
          select endpoint_id, lane, after_seq from skipped where lane = ${lane} and through_seq <= ${end} limit ${limit})`,
  ]);
}

/** Lane by lane, up to these seqs; `batches` are made for so many rows. False when it was stopped before. */
async function deleteLanes(
  { storage, ...turns }: RetentionServices,
  ends: readonly number[],
  batches: (lane: number, end: number, limit: number) => readonly Sql[],
): Promise<boolean> {
  for (const [lane, end] of ends.entries()) {
    for (const batch of batches(lane, end, ROWS_PER_DELETE)) {
      const { ended } = await deleteInBatches(() => storage.transaction((tx) => tx.run(batch)), turns);
      if (!ended) return false;
    }
  }
  return true;
}
