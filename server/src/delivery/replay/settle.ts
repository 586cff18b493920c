/** The one transaction that writes what came of a replay's deliveries, fenced by the epochs of their lanes. */

import type { LoggedEvent } from '../../events/log.ts';
import { oldestWritable } from '../../events/segments.ts';
import { type SqlValue, sql, sqlList } from '../../storage/sql.ts';
import type { Storage, Writer } from '../../storage/storage.ts';
import type { Outcome, Park } from '../job.ts';
import type { Lane } from '../lanes/lane.ts';
import { LaneLost } from '../settling/settle.ts';
import { endReplay, type Replay } from './replays.ts';

/**
 * `park` is null for a success, and for a failure of which nothing more becomes: the webhook was deleted. `outcome` is null
 * for an event that was erased before its next attempt.
 */
export type ReplayResult = {
  lane: Lane;
  event: LoggedEvent;
  /** Attempts made before this one. */
  sent: number;
  outcome: Outcome | null;
  park: Park | null;
  /** It was written before, and nobody knows whether that was committed. */
  repeated?: boolean;
};
export type ReplaySettlement = {
  owner: string;
  now: number;
  replay: Replay;
  results: readonly ReplayResult[];
  positions: readonly { lane: Lane; position: number }[];
  /** Nothing of it is left on this node. */
  finished: boolean;
};

const ATTEMPT_COLUMNS = [
  ...['segment', 'lane', 'seq', 'endpoint_id', 'source', 'replay_id', 'n', 'at', 'delivered', 'status', 'duration_ms', 'dns_ms'],
  ...['connect_ms', 'tls_ms', 'first_byte_ms', 'type', 'item_id', 'failure', 'message', 'snippet'],
];

/** Answers whether the replay is done with. Throws {@link LaneLost}. */
export async function settleReplay(storage: Storage, settlement: ReplaySettlement): Promise<boolean> {
  const { replay, results, positions, now } = settlement;
  const oldest = await oldestWritable(storage);
  return storage.transaction(async (tx) => {
    await fence(tx, storage, settlement);
    const row = await tx.first<{ state: Replay['state'] }>(sql`select state from replays where id = ${replay.id}${storage.forUpdate}`);
    // An attempt on an event that retention took meanwhile has no place any more.
    const rows = results.filter(({ outcome, event }) => outcome !== null && event.segment >= oldest);
    const counted = await withoutKnown(tx, replay, results);
    await tx.insertMany(
      'attempts',
      ATTEMPT_COLUMNS,
      rows.map((result) => attemptRow(replay, result)),
      'on conflict do nothing',
    );
    const isOver = row?.state !== 'running' && row?.state !== 'paused';
    await writeParked(tx, settlement, isOver);
    for (const { lane, position } of positions) {
      const of = counted.filter((result) => result.lane === lane && result.outcome !== null);
      const sent = of.filter((result) => result.sent === 0).length;
      const delivered = of.filter(({ outcome }) => outcome?.failure === null).length;
      const failed = of.filter(({ park }) => park?.state === 'dead').length;
      await tx.run(
        sql`update replay_positions set position = ${position}, sent = sent + ${sent}, delivered = delivered + ${delivered}, failed = failed + ${failed}
            where replay_id = ${replay.id} and lane = ${lane.number}`,
      );
    }
    if (isOver) return true;
    if (!settlement.finished || !(await isDone(tx, replay))) return false;
    await endReplay(tx, replay, 'done', now);
    return true;
  });
}

/** Those whose attempt is not there yet: the others were counted with it. */
async function withoutKnown(tx: Writer, replay: Replay, results: readonly ReplayResult[]): Promise<readonly ReplayResult[]> {
  if (!results.some(({ repeated }) => repeated)) return results;
  const counted: ReplayResult[] = [];
  for (const result of results) {
    const { lane, event, sent, repeated } = result;
    const known =
      repeated &&
      (await tx.first(
        sql`select n from attempts where segment = ${event.segment} and lane = ${lane.number} and seq = ${event.seq}
              and endpoint_id = ${replay.endpointId} and source = 'replay' and replay_id = ${replay.id} and n = ${sent + 1}`,
      ));
    if (!known) counted.push(result);
  }
  return counted;
}

/** Locks the lease rows in ascending order, as all who settle do. */
async function fence(tx: Writer, storage: Storage, { owner, positions }: ReplaySettlement): Promise<void> {
  if (positions.length === 0) return;
  const epochs = new Map(positions.map(({ lane }) => [lane.number, lane.epoch]));
  const rows = await tx.all<{ lane: number; owner: string | null; epoch: number }>(
    sql`select lane, owner, epoch from lane_leases where lane in ${sqlList([...epochs.keys()])} order by lane${storage.forUpdate}`,
  );
  const ours = rows.filter((row) => row.owner === owner && row.epoch === epochs.get(row.lane));
  if (ours.length < epochs.size) throw new LaneLost('a lane was taken over by another node');
}

function attemptRow(replay: Replay, { lane, event, sent, outcome }: ReplayResult): SqlValue[] {
  const { timings, failure } = outcome!;
  return [
    ...[event.segment, lane.number, event.seq, replay.endpointId, 'replay', replay.id, sent + 1],
    ...[outcome!.at, failure === null ? 1 : 0, outcome!.status, rounded(outcome!.durationMs)],
    ...[rounded(timings.dnsMs), rounded(timings.connectMs), rounded(timings.tlsMs), rounded(timings.firstByteMs)],
    ...[event.type, event.itemId, failure?.class ?? null, failure?.message ?? null, outcome!.snippet],
  ];
}

function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 100) / 100;
}

async function writeParked(tx: Writer, { replay, results, now }: ReplaySettlement, isOver: boolean): Promise<void> {
  const parked: SqlValue[][] = [];
  for (const { lane, event, sent, park } of results) {
    const place = [replay.endpointId, lane.number, event.seq, replay.id];
    if (park && !isOver) parked.push([...place, event.itemId, event.type, park.state, park.attempts, sent + 1, park.dueAt, now]);
    else if (sent > 0)
      await tx.run(
        sql`delete from parked where endpoint_id = ${replay.endpointId} and lane = ${lane.number} and seq = ${event.seq} and replay_id = ${replay.id}`,
      );
  }
  await tx.insertMany(
    'parked',
    ['endpoint_id', 'lane', 'seq', 'replay_id', 'item_id', 'type', 'state', 'attempts', 'sent', 'due_at', 'parked_at'],
    parked,
    'on conflict (endpoint_id, lane, seq, replay_id) do update set state = excluded.state, attempts = excluded.attempts, sent = excluded.sent, due_at = excluded.due_at',
  );
}

/** On all nodes: the row of the replay is locked, so the last one to finish sees what the others wrote. */
async function isDone(tx: Writer, { id }: Replay): Promise<boolean> {
  const left = await tx.first<{ lane: number }>(
    sql`select lane from replay_positions where replay_id = ${id} and position < through_seq
        union all select lane from parked where replay_id = ${id} and state = 'retry' and replay_id <> '' limit 1`,
  );
  return left === undefined;
}
