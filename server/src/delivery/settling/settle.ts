/** The one transaction that writes what came of deliveries: attempts, parked rows and settled positions together. */
import { countDead } from '../../endpoints/dead.ts';
import { isOperational } from '../../events/catalogue.ts';
import { oldestWritable } from '../../events/segments.ts';
import type { SqlValue } from '../../storage/sql.ts';
import { sql, sqlList } from '../../storage/sql.ts';
import type { Storage, Writer } from '../../storage/storage.ts';
import type { LagWrites } from '../lanes/lagging.ts';
import type { Job, Lane, Result } from '../lanes/lane.ts';

export type Settlement = {
  owner: string;
  now: number;
  results: readonly Result[];
  /** Every lane that anything here belongs to; with the position to write. */
  positions: readonly { lane: Lane; settled: number }[];
  lagging: readonly { lane: Lane; writes: LagWrites }[];
  /** Parked rows that waited behind another one of their item, and are its oldest now. */
  released: readonly Place[];
  /** Endpoints that no longer keep order: what waits in the lanes of `positions` is due. */
  revive: readonly string[];
  /** Deleted endpoints: nothing of theirs stays parked. */
  forget: readonly string[];
  /** Some of it was written before, and nobody knows whether that was committed. */
  repeated: boolean;
};

export type Place = { lane: Lane; endpointId: string; seq: number };

/** A lane's epoch is no longer ours; nothing was written. */
export class LaneLost extends Error {}

const ATTEMPT_COLUMNS = [
  'segment',
  'lane',
  'seq',
  'endpoint_id',
  'source',
  'n',
  'at',
  'delivered',
  'status',
  'duration_ms',
  'type',
  'item_id',
  'first_byte_ms',
] as const;
/** Of the few deliveries for which a connection was opened. */
const OPENING_COLUMNS = [...ATTEMPT_COLUMNS, 'dns_ms', 'connect_ms', 'tls_ms'] as const;
const FAILURE_COLUMNS = [...OPENING_COLUMNS, 'failure', 'message', 'snippet'] as const;
const NOT_TWICE = 'on conflict do nothing';
/** SQLite parses each list anew, and PostgreSQL counts its values in 16 bits. */
const SEQS_PER_STATEMENT = 500;

/** Can be repeated after a commit of unknown outcome. Throws {@link LaneLost}. */
export async function settle(storage: Storage, settlement: Settlement): Promise<void> {
  try {
    await write(storage, settlement);
  } catch (error) {
    if (error instanceof LaneLost) throw error;
    // An attempt on an event that retention took meanwhile has no partition any more; the rest must not wait for it.
    const oldest = await oldestWritable(storage);
    const isGone = ({ job, outcome }: Result) => outcome !== null && job.event.segment < oldest;
    if (!settlement.results.some(isGone)) throw error;
    const results = settlement.results.map((result) => (isGone(result) ? { ...result, outcome: null } : result));
    await write(storage, { ...settlement, results });
  }
}

async function write(storage: Storage, settlement: Settlement): Promise<void> {
  await storage.transaction(async (tx) => {
    await fence(tx, settlement);
    const deaths = await deathsOf(tx, settlement);
    await insertAttempts(tx, settlement.results);
    await writeParked(tx, settlement);
    await release(tx, settlement);
    for (const { lane, writes } of settlement.lagging) await writeLagging(tx, lane, writes, settlement.now);
    if (deaths.size > 0) await countDead(tx, settlement.now, deaths);
    for (const id of settlement.forget) await tx.run(sql`delete from parked where endpoint_id = ${id}`);
  });
}

/** Locks the lease rows, in ascending order and in one statement, and moves their positions where the epoch is still ours. */
async function fence(tx: Writer, { owner, positions }: Settlement): Promise<void> {
  if (positions.length === 0) return;
  const rows = [...positions]
    .sort((a, b) => a.lane.number - b.lane.number)
    .map(({ lane, settled }) => [lane.number, owner, lane.epoch, 0, settled]);
  const changed = await tx.insertMany(
    'lane_leases',
    ['lane', 'owner', 'epoch', 'renewals', 'settled'],
    rows,
    `on conflict (lane) do update set settled = excluded.settled
       where lane_leases.epoch = excluded.epoch and lane_leases.owner = excluded.owner`,
  );
  if (changed < rows.length) throw new LaneLost('a lane was taken over by another node');
}

async function insertAttempts(tx: Writer, results: readonly Result[]): Promise<void> {
  const delivered: SqlValue[][] = [];
  const opened: SqlValue[][] = [];
  const failed: SqlValue[][] = [];
  for (const { job, endpointId, outcome } of results) {
    if (!outcome) continue;
    const { timings } = outcome;
    const ok = outcome.failure === null;
    const row: SqlValue[] = [
      job.event.segment,
      job.lane.number,
      job.event.seq,
      endpointId,
      job.source,
      job.sent + 1,
      outcome.at,
      ok ? 1 : 0,
      outcome.status,
      rounded(outcome.durationMs),
      job.event.type,
      job.event.itemId,
      rounded(timings.firstByteMs),
    ];
    if (ok && timings.connectMs === null) delivered.push(row);
    else {
      row.push(rounded(timings.dnsMs), rounded(timings.connectMs), rounded(timings.tlsMs));
      if (outcome.failure === null) opened.push(row);
      else failed.push([...row, outcome.failure.class, outcome.failure.message, outcome.snippet]);
    }
  }
  if (delivered.length > 0) await tx.insertMany('attempts', ATTEMPT_COLUMNS, delivered, NOT_TWICE);
  if (opened.length > 0) await tx.insertMany('attempts', OPENING_COLUMNS, opened, NOT_TWICE);
  if (failed.length > 0) await tx.insertMany('attempts', FAILURE_COLUMNS, failed, NOT_TWICE);
}

/** For the operators, who are told by the minute. What tells them makes no further noise when it dies itself. */
async function deathsOf(tx: Writer, { results, repeated }: Settlement): Promise<Map<string, number>> {
  const deaths = new Map<string, number>();
  for (const { job, endpointId, park } of results) {
    if (park?.state !== 'dead' || isOperational(job.event.type)) continue;
    if (repeated && (await isDead(tx, endpointId, job))) continue;
    deaths.set(endpointId, (deaths.get(endpointId) ?? 0) + 1);
  }
  return deaths;
}

/** Then it was counted with the row. */
async function isDead(tx: Writer, endpointId: string, { lane, event }: Job): Promise<boolean> {
  const row = await tx.first(
    sql`select seq from parked where endpoint_id = ${endpointId} and lane = ${lane.number} and seq = ${event.seq} and replay_id = '' and state = 'dead'`,
  );
  return row !== undefined;
}

/** To a hundredth of a millisecond. */
function rounded(ms: number): number;
function rounded(ms: number | null): number | null;
function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 100) / 100;
}

async function writeParked(tx: Writer, { results, now }: Settlement): Promise<void> {
  const parked: SqlValue[][] = [];
  const ended = new Map<string, { endpointId: string; lane: number; seqs: number[] }>();
  for (const { job, endpointId, outcome, park } of results) {
    const lane = job.lane.number;
    const { event } = job;
    const sent = job.sent + (outcome ? 1 : 0);
    if (park) parked.push([endpointId, lane, event.seq, event.itemId, event.type, park.state, park.attempts, sent, park.dueAt, now]);
    else if (job.parked) {
      const key = `${endpointId}/${lane}`;
      const group = ended.get(key) ?? { endpointId, lane, seqs: [] };
      group.seqs.push(job.event.seq);
      ended.set(key, group);
    }
  }
  if (parked.length > 0) {
    await tx.insertMany(
      'parked',
      ['endpoint_id', 'lane', 'seq', 'item_id', 'type', 'state', 'attempts', 'sent', 'due_at', 'parked_at'],
      parked,
      'on conflict (endpoint_id, lane, seq, replay_id) do update set state = excluded.state, attempts = excluded.attempts, sent = excluded.sent, due_at = excluded.due_at',
    );
  }
  for (const { endpointId, lane, seqs } of ended.values()) await deleteParked(tx, endpointId, lane, seqs);
}

async function deleteParked(tx: Writer, endpointId: string, lane: number, seqs: readonly number[]): Promise<void> {
  for (let start = 0; start < seqs.length; start += SEQS_PER_STATEMENT) {
    await tx.run(
      sql`delete from parked where endpoint_id = ${endpointId} and lane = ${lane} and replay_id = ''
          and seq in ${sqlList(seqs.slice(start, start + SEQS_PER_STATEMENT))}`,
    );
  }
}

async function release(tx: Writer, { released, revive, positions, now }: Settlement): Promise<void> {
  for (const { lane, endpointId, seq } of released) {
    await tx.run(
      sql`update parked set due_at = ${now}
          where endpoint_id = ${endpointId} and lane = ${lane.number} and seq = ${seq} and replay_id = '' and state = 'waiting' and due_at is null`,
    );
  }
  const lanes = positions.map(({ lane }) => lane.number);
  for (const id of revive) {
    await tx.run(
      sql`update parked set due_at = ${now}
          where endpoint_id = ${id} and state = 'waiting' and due_at is null and replay_id = '' and lane in ${sqlList(lanes)}`,
    );
  }
}

async function writeLagging(tx: Writer, lane: Lane, { positions, ended, skips }: LagWrites, now: number): Promise<void> {
  for (const id of ended) await tx.run(sql`delete from endpoint_positions where endpoint_id = ${id} and lane = ${lane.number}`);
  if (positions.length > 0) {
    await tx.insertMany(
      'endpoint_positions',
      ['endpoint_id', 'lane', 'settled', 'ahead', 'since'],
      positions.map(({ lag, position }) => [lag.endpointId, lane.number, position.settled, JSON.stringify(position.ahead), now]),
      'on conflict (endpoint_id, lane) do update set settled = excluded.settled, ahead = excluded.ahead',
    );
  }
  for (const { endpointId, ranges, parked } of skips) {
    await tx.insertMany(
      'skipped',
      ['endpoint_id', 'lane', 'after_seq', 'through_seq', 'reason', 'at'],
      ranges.map(([first, last]) => [endpointId, lane.number, first - 1, last, 'skipped', now]),
      NOT_TWICE,
    );
    await deleteParked(tx, endpointId, lane.number, parked);
  }
}
