/** Replays: sending events again that are in the log, as a job that can be counted first, paused and cancelled. */
import { MINUTE_MS } from '../../base/clock.ts';
import { randomId } from '../../base/random.ts';
import { raiseConfiguration } from '../../endpoints/endpoints.ts';
import { laneOf } from '../../events/log.ts';
import { readSegments } from '../../events/segments.ts';
import { sql, sqlList } from '../../storage/sql.ts';
import type { Reader, Storage, Writer } from '../../storage/storage.ts';

/** Requests per second of one replay where it says nothing: live traffic of the same endpoint goes on beside it. */
export const REPLAY_RATE_PER_S_DEFAULT = 50;
export const REPLAY_RATE_PER_S_MIN = 0.1;
/** More than one endpoint takes beside its live traffic. */
export const REPLAY_RATE_PER_S_MAX = 1_000;
/** Of one application, running or paused: each one that runs costs every node a few kilobytes and a look at each of its lanes. */
export const REPLAYS_OPEN_MAX = 100;
/** Events are stamped a moment before their transaction finds its segment. */
const STAMP_SLACK_MS = MINUTE_MS;

export type ReplayFilter =
  | { kind: 'one'; lane: number; seq: number }
  /** All that were given up. */
  | { kind: 'dead' }
  /** Times are epoch ms of the commit, `since` included and `until` not. `failed`: never delivered to this endpoint. */
  | {
      kind: 'range';
      since: number | null;
      until: number | null;
      types: readonly string[] | null;
      itemIds: readonly number[] | null;
      outcome: 'delivered' | 'failed' | null;
    };
export type ReplayState = 'running' | 'paused' | 'cancelled' | 'done';
export type Replay = {
  id: string;
  applicationId: string;
  endpointId: string;
  filter: ReplayFilter;
  state: ReplayState;
  ratePerS: number;
  /** Counted when it was made; null until it has ended where there were more than one counts for a start. */
  total: number | null;
  /** It sends no fewer, as far as was counted. */
  atLeast: number;
  createdAt: number;
  finishedAt: number | null;
};
/** What a replay reads of one lane: after `position`, through `through`. */
export type LaneRange = { lane: number; position: number; through: number };

type ReplayRow = {
  id: string;
  application_id: string;
  endpoint_id: string;
  kind: ReplayFilter['kind'];
  filter: string;
  state: ReplayState;
  rate_per_s: number | null;
  total: number;
  total_known: number;
  created_at: number;
  finished_at: number | null;
};

function fromRow(row: ReplayRow): Replay {
  return {
    id: row.id,
    applicationId: row.application_id,
    endpointId: row.endpoint_id,
    filter: JSON.parse(row.filter) as ReplayFilter,
    state: row.state,
    ratePerS: row.rate_per_s ?? REPLAY_RATE_PER_S_DEFAULT,
    total: row.total_known === 1 ? row.total : null,
    atLeast: row.total,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
  };
}

/** The part of the log that a filter can find something in, as the log is now. */
export async function rangesOf(reader: Reader, filter: ReplayFilter): Promise<LaneRange[]> {
  if (filter.kind === 'one') return [{ lane: filter.lane, position: filter.seq - 1, through: filter.seq }];
  const heads = await reader.all<{ lane: number; head: number }>(sql`select lane, head from lane_heads order by lane`);
  const segments = (await readSegments(reader)).filter(({ frozenAt }) => frozenAt === null);
  const { since, until, itemIds } = filter.kind === 'range' ? filter : { since: null, until: null, itemIds: null };
  const first = segments.find(({ closedAt }) => closedAt === null || since === null || closedAt >= since);
  const beyond = until === null ? undefined : segments.find(({ openedAt }) => openedAt > until + STAMP_SLACK_MS);
  const lanes = itemIds === null ? null : new Set(itemIds.map((itemId) => laneOf(`item:${itemId}`)));
  return heads
    .filter(({ lane }) => lanes === null || lanes.has(lane))
    .map(({ lane, head }) => ({ lane, position: first?.starts[lane] ?? 0, through: beyond?.starts[lane] ?? head }))
    .filter(({ position, through }) => through > position);
}

/** `idempotencyKey`: who starts it again under the same key, because no answer came, gets the one that is there. */
export type NewReplay = Pick<Replay, 'applicationId' | 'endpointId' | 'filter' | 'total'> & {
  atLeast?: number;
  ratePerS: number | null;
  idempotencyKey?: string | null;
};

/** Null where the application has as many as it may. Running servers begin with it within a second. */
export async function createReplay(storage: Storage, replay: NewReplay, ranges: readonly LaneRange[], now: number): Promise<Replay | null> {
  const id = randomId('rpl');
  const { total, atLeast = total ?? 0, idempotencyKey = null } = replay;
  return storage.transaction(async (tx) => {
    // The lock of whoever raises the version: those that are made at the same moment are counted, and their keys found, one after the other.
    await tx.first(sql`select version from configuration${storage.forUpdate}`);
    const known = idempotencyKey === null ? null : await findReplayByKey(tx, replay.applicationId, idempotencyKey);
    if (known) return known;
    const open = await tx.first<{ count: number }>(
      sql`select count(*) as count from replays where finished_at is null and application_id = ${replay.applicationId}`,
    );
    if (open && open.count >= REPLAYS_OPEN_MAX) return null;
    const isEmpty = total === 0;
    await tx.run(
      sql`insert into replays (id, application_id, endpoint_id, kind, filter, state, rate_per_s, total, total_known, idempotency_key,
            created_at, finished_at)
          values (${id}, ${replay.applicationId}, ${replay.endpointId}, ${replay.filter.kind}, ${JSON.stringify(replay.filter)},
            ${isEmpty ? 'done' : 'running'}, ${replay.ratePerS}, ${total ?? atLeast}, ${total === null ? 0 : 1}, ${idempotencyKey},
            ${now}, ${isEmpty ? now : null})`,
    );
    const rows = isEmpty ? [] : ranges.map(({ lane, position, through }) => [id, lane, position, through]);
    await tx.insertMany('replay_positions', ['replay_id', 'lane', 'position', 'through_seq'], rows);
    await raiseConfiguration(tx);
    return (await findReplay(tx, id))!;
  });
}

export async function findReplay(reader: Reader, id: string): Promise<Replay | null> {
  const row = await reader.first<ReplayRow>(sql`select * from replays where id = ${id}`);
  return row ? fromRow(row) : null;
}

export async function findReplayByKey(reader: Reader, applicationId: string, idempotencyKey: string): Promise<Replay | null> {
  const row = await reader.first<ReplayRow>(
    sql`select * from replays where application_id = ${applicationId} and idempotency_key = ${idempotencyKey}`,
  );
  return row ? fromRow(row) : null;
}

/** Newest first, after `after`. */
export async function listReplays(
  reader: Reader,
  { applicationId, after, limit }: { applicationId: string; after: { createdAt: number; id: string } | null; limit: number },
): Promise<Replay[]> {
  const rows = await reader.all<ReplayRow>(
    after === null
      ? sql`select * from replays where application_id = ${applicationId} order by created_at desc, id desc limit ${limit}`
      : sql`select * from replays where application_id = ${applicationId} and created_at <= ${after.createdAt}
            and (created_at, id) < (${after.createdAt}, ${after.id}) order by created_at desc, id desc limit ${limit}`,
  );
  return rows.map(fromRow);
}

/** All that servers work on, and those that are paused. */
export async function openReplays(reader: Reader): Promise<Replay[]> {
  const rows = await reader.all<ReplayRow>(sql`select * from replays where finished_at is null order by created_at, id`);
  return rows.map(fromRow);
}

const MOVES = {
  pause: { from: ['running'], to: 'paused' },
  resume: { from: ['paused'], to: 'running' },
  cancel: { from: ['running', 'paused'], to: 'cancelled' },
} as const satisfies Record<string, { from: readonly ReplayState[]; to: ReplayState }>;
export type Move = keyof typeof MOVES;

/** False where its state does not allow that. What is under way ends as it ends; running servers notice within a second. */
export async function moveReplay(storage: Storage, id: string, move: Move, now: number): Promise<boolean> {
  return storage.transaction(async (tx) => {
    const row = await tx.first<ReplayRow>(sql`select * from replays where id = ${id}${storage.forUpdate}`);
    const { from, to } = MOVES[move];
    if (!row || !(from as readonly ReplayState[]).includes(row.state)) return false;
    if (to === 'cancelled') await endReplay(tx, fromRow(row), 'cancelled', now);
    else await tx.run(sql`update replays set state = ${to} where id = ${id}`);
    await raiseConfiguration(tx);
    return true;
  });
}

/** Cancels those whose endpoint was deleted, also where they are paused and nobody would go on with them. Answers their ids. */
export async function cancelOrphans(storage: Storage, open: readonly Replay[], now: number): Promise<Set<string>> {
  if (open.length === 0) return new Set();
  const deleted = await storage.all<{ id: string }>(
    sql`select id from endpoints where deleted_at is not null and id in ${sqlList([...new Set(open.map(({ endpointId }) => endpointId))])}`,
  );
  const orphans = open.filter(({ endpointId }) => deleted.some(({ id }) => id === endpointId));
  for (const { id } of orphans) {
    await storage.transaction(async (tx) => {
      const row = await tx.first<ReplayRow>(sql`select * from replays where id = ${id} and finished_at is null${storage.forUpdate}`);
      if (row) await endReplay(tx, row, 'cancelled', now);
    });
  }
  return new Set(orphans.map(({ id }) => id));
}

/** Of one that the caller has locked. What waits for another attempt waits no more; one that is done has sent all there was. */
export async function endReplay(tx: Writer, { id }: Pick<Replay, 'id'>, state: 'cancelled' | 'done', now: number): Promise<void> {
  await tx.run(sql`update replays set state = ${state}, finished_at = ${now} where id = ${id}`);
  if (state === 'done')
    await tx.run(
      sql`update replays set total_known = 1,
            total = (select coalesce(cast(sum(sent) as bigint), 0) from replay_positions where replay_id = ${id})
          where id = ${id} and total_known = 0`,
    );
  if (state === 'cancelled') await tx.run(sql`delete from parked where replay_id = ${id} and state = 'retry' and replay_id <> ''`);
}

/** What this node has to do of a replay: the lanes that are not at their end, and what waits for another attempt. */
export async function readWork(
  reader: Reader,
  { id }: Replay,
): Promise<{ ranges: LaneRange[]; retries: { lane: number; seq: number; attempts: number; sent: number; dueAt: number }[] }> {
  const ranges = await reader.all<{ lane: number; position: number; through_seq: number }>(
    sql`select lane, position, through_seq from replay_positions where replay_id = ${id}`,
  );
  const retries = await reader.all<{ lane: number; seq: number; attempts: number; sent: number; due_at: number | null }>(
    sql`select lane, seq, attempts, sent, due_at from parked
        where replay_id = ${id} and state = 'retry' and replay_id <> '' order by lane, seq`,
  );
  return {
    ranges: ranges.map((row) => ({ lane: row.lane, position: row.position, through: row.through_seq })),
    retries: retries.map((row) => ({ lane: row.lane, seq: row.seq, attempts: row.attempts, sent: row.sent, dueAt: row.due_at ?? 0 })),
  };
}
