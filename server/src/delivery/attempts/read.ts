/** The attempts of one event, and what still waits of it. */
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';

export const ATTEMPT_SOURCES = ['live', 'retry', 'test', 'probe', 'replay'] as const;

/** Times are epoch milliseconds; `null` timings are of steps that an open connection spared, or that were not reached. */
export type Attempt = {
  segment: number;
  lane: number;
  seq: number;
  endpointId: string;
  source: (typeof ATTEMPT_SOURCES)[number];
  /** Empty but for replays. */
  replayId: string;
  /** Counts the attempts of this event for this endpoint, in this source, from 1. */
  n: number;
  at: number;
  delivered: boolean;
  status: number | null;
  durationMs: number;
  dnsMs: number | null;
  connectMs: number | null;
  tlsMs: number | null;
  firstByteMs: number | null;
  type: string;
  itemId: number | null;
  /** The class of the failure, and the sentence that says what to do. */
  failure: string | null;
  message: string | null;
  /** What the receiver answered, at most 4 KiB, of failures only. */
  snippet: string | null;
};

export type AttemptRow = {
  segment: number;
  lane: number;
  seq: number;
  endpoint_id: string;
  source: Attempt['source'];
  replay_id: string;
  n: number;
  at: number;
  delivered: number;
  status: number | null;
  duration_ms: number;
  dns_ms: number | null;
  connect_ms: number | null;
  tls_ms: number | null;
  first_byte_ms: number | null;
  type: string;
  item_id: number | null;
  failure: string | null;
  message: string | null;
  snippet: string | null;
};

export function attemptFromRow(row: AttemptRow): Attempt {
  return {
    segment: row.segment,
    lane: row.lane,
    seq: row.seq,
    endpointId: row.endpoint_id,
    source: row.source,
    replayId: row.replay_id,
    n: row.n,
    at: row.at,
    delivered: row.delivered === 1,
    status: row.status,
    durationMs: row.duration_ms,
    dnsMs: row.dns_ms,
    connectMs: row.connect_ms,
    tlsMs: row.tls_ms,
    firstByteMs: row.first_byte_ms,
    type: row.type,
    itemId: row.item_id,
    failure: row.failure,
    message: row.message,
    snippet: row.snippet,
  };
}

/** For another attempt; behind an earlier event of the item, or for the webhook; for nothing, being given up. */
export const PARKED_STATES = ['retry', 'waiting', 'dead'] as const;

/** A delivery that waits or gave up. Times are epoch milliseconds; only a `retry` is due. */
export type Parked = {
  endpointId: string;
  replayId: string;
  state: (typeof PARKED_STATES)[number];
  attempts: number;
  dueAt: number | null;
  parkedAt: number;
};

type ParkedRow = {
  endpoint_id: string;
  replay_id: string;
  state: Parked['state'];
  attempts: number;
  due_at: number | null;
  parked_at: number;
};

/** An event with more attempts than this has been replayed many times: the newest are shown. */
export const ATTEMPTS_OF_EVENT_MAX = 500;

/** In the order of time, the newest {@link ATTEMPTS_OF_EVENT_MAX} of them. */
export async function attemptsOfEvent(reader: Reader, event: { segment: number; lane: number; seq: number }): Promise<Attempt[]> {
  const rows = await reader.all<AttemptRow>(sql`
    select * from attempts where segment = ${event.segment} and lane = ${event.lane} and seq = ${event.seq}
    order by at desc, endpoint_id desc, n desc limit ${ATTEMPTS_OF_EVENT_MAX}`);
  return rows.map(attemptFromRow).reverse();
}

/** For webhooks that are there: a deleted one gets nothing more. */
export async function parkedOfEvent(reader: Reader, event: { lane: number; seq: number }): Promise<Parked[]> {
  const rows = await reader.all<ParkedRow>(sql`
    select endpoint_id, replay_id, state, attempts, due_at, parked_at from parked
    where lane = ${event.lane} and seq = ${event.seq} and endpoint_id in (select id from endpoints where deleted_at is null)
    order by endpoint_id, replay_id limit ${ATTEMPTS_OF_EVENT_MAX}`);
  return rows.map((row) => ({
    endpointId: row.endpoint_id,
    replayId: row.replay_id,
    state: row.state,
    attempts: row.attempts,
    dueAt: row.due_at,
    parkedAt: row.parked_at,
  }));
}
