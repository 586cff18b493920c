/** The one transaction that writes what came of deliveries: attempts, parked rows and settled positions together. */
import { countDead } from '../../endpoints/dead.ts';
import { isOperational } from '../../events/catalogue.ts';
import { oldestWritable } from '../../events/segments.ts';
import type { SqlValue } from '../../storage/sql.ts';
import { sql, sqlList } from '../../storage/sql.ts';
import { isDuplicate, type Storage, type Writer } from '../../storage/storage.ts';
import type { Job, Result } from '../job.ts';
import type { LagWrites } from '../lanes/lagging.ts';
import type { Lane } from '../lanes/lane.ts';

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
/**
 * An attempt is there already only after a commit of unknown outcome or where a position was cut short, and then all is
 * written once more: looking for it beforehand, and confirming each row, costs PostgreSQL 7 to 10 µs of an attempt's 20.
 */
const PLAINLY = '';
/** SQLite parses each list anew, and PostgreSQL counts its values in 16 bits. */
const SEQS_PER_STATEMENT = 500;

/** Can be repeated after a commit of unknown outcome. Throws {@link LaneLost}. */
export async function settle(storage: Storage, settlement: Settlement): Promise<void> {
  try {
    await write(storage, settlement, PLAINLY);
  } catch (error) {
    if (!isDuplicate(error)) return settleTheRest(storage, settlement, error);
    await write(storage, settlement, NOT_TWICE).catch((again) => settleTheRest(storage, settlement, again));
  }
}

/** An attempt on an event that retention took meanwhile has no partition any more; the rest must not wait for it. */
async function settleTheRest(storage: Storage, settlement: Settlement, error: unknown): Promise<void> {
  if (error instanceof LaneLost) throw error;
  const oldest = await oldestWritable(storage);
  const isGone = ({ job, outcome }: Result) => outcome !== null && job.event.segment < oldest;
  if (!settlement.results.some(isGone)) throw error;
  const results = settlement.results.map((result) => (isGone(result) ? { ...result, outcome: null } : result));
  await write(storage, { ...settlement, results }, NOT_TWICE);
}

/** All of it is given at once, which on PostgreSQL is one round trip; the commit comes when the fence has held. */
async function write(storage: Storage, settlement: Settlement, repeats: string): Promise<void> {
  await storage.transaction(async (tx) => {
    const deaths = await deathsOf(tx, settlement);
    await Promise.all([
      fence(tx, settlement),
      insertAttempts(tx, settlement.results, repeats),
      writeParked(tx, settlement),
      release(tx, settlement),
      writeLagging(tx, settlement),
      deaths.size > 0 && countDead(tx, settlement.now, deaths),
    ]);
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

async function insertAttempts(tx: Writer, results: readonly Result[], repeats: string): Promise<void> {
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
  const insert = (columns: readonly string[], rows: SqlValue[][]) => tx.insertMany('attempts', columns, rows, repeats);
  await Promise.all([insert(ATTEMPT_COLUMNS, delivered), insert(OPENING_COLUMNS, opened), insert(FAILURE_COLUMNS, failed)]);
}

/**
 * For the operators, who are told by the minute. What tells them makes no further noise when it dies itself. Asks nothing but
 * where some of it may have been written before.
 */
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
  // Of two results of one delivery (the first was written, and not heard of) the later one stands.
  const last = new Map(results.map((result) => [`${result.endpointId}/${result.job.lane.number}/${result.job.event.seq}`, result]));
  for (const { job, endpointId, outcome, park } of last.values()) {
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
  await Promise.all([
    tx.insertMany(
      'parked',
      ['endpoint_id', 'lane', 'seq', 'item_id', 'type', 'state', 'attempts', 'sent', 'due_at', 'parked_at'],
      parked,
      'on conflict (endpoint_id, lane, seq, replay_id) do update set state = excluded.state, attempts = excluded.attempts, sent = excluded.sent, due_at = excluded.due_at',
    ),
    ...[...ended.values()].map(({ endpointId, lane, seqs }) => deleteParked(tx, endpointId, lane, seqs)),
  ]);
}

async function deleteParked(tx: Writer, endpointId: string, lane: number, seqs: readonly number[]): Promise<void> {
  const deletes: Promise<number>[] = [];
  for (let start = 0; start < seqs.length; start += SEQS_PER_STATEMENT) {
    deletes.push(
      tx.run(
        sql`delete from parked where endpoint_id = ${endpointId} and lane = ${lane} and replay_id = ''
            and seq in ${sqlList(seqs.slice(start, start + SEQS_PER_STATEMENT))}`,
      ),
    );
  }
  await Promise.all(deletes);
}

async function release(tx: Writer, { released, revive, positions, now }: Settlement): Promise<void> {
  const lanes = positions.map(({ lane }) => lane.number);
  await Promise.all([
    ...released.map(({ lane, endpointId, seq }) =>
      tx.run(
        sql`update parked set due_at = ${now}
            where endpoint_id = ${endpointId} and lane = ${lane.number} and seq = ${seq} and replay_id = '' and state = 'waiting' and due_at is null`,
      ),
    ),
    ...revive.map((id) =>
      tx.run(
        sql`update parked set due_at = ${now}
            where endpoint_id = ${id} and state = 'waiting' and due_at is null and replay_id = '' and lane in ${sqlList(lanes)}`,
      ),
    ),
  ]);
}

/** In one statement for all lanes: eleven for each flush were the larger part of what ten hanging endpoints cost the others. */
async function writeLagging(tx: Writer, { lagging, now }: Settlement): Promise<void> {
  const ended = lagging.flatMap(({ lane, writes }) => writes.ended.map((id) => ({ id, lane: lane.number })));
  const rows = lagging.flatMap(({ lane, writes }) =>
    writes.positions.map(({ lag, position }) => [lag.endpointId, lane.number, position.settled, JSON.stringify(position.ahead), now]),
  );
  const skips = lagging.flatMap(({ lane, writes }) => writes.skips.map((skip) => ({ ...skip, lane: lane.number })));
  await Promise.all([
    // First: an endpoint that caught up may lag again by now.
    ...ended.map(({ id, lane }) => tx.run(sql`delete from endpoint_positions where endpoint_id = ${id} and lane = ${lane}`)),
    tx.insertMany(
      'endpoint_positions',
      ['endpoint_id', 'lane', 'settled', 'ahead', 'since'],
      rows,
      'on conflict (endpoint_id, lane) do update set settled = excluded.settled, ahead = excluded.ahead',
    ),
    tx.insertMany(
      'skipped',
      ['endpoint_id', 'lane', 'after_seq', 'through_seq', 'reason', 'at'],
      skips.flatMap(({ endpointId, lane, ranges }) => ranges.map(([first, last]) => [endpointId, lane, first - 1, last, 'skipped', now])),
      NOT_TWICE,
    ),
    ...skips.map(({ endpointId, lane, parked }) => deleteParked(tx, endpointId, lane, parked)),
  ]);
}
