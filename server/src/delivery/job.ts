/** What is passed on between reading, sending and settling: a delivery, how an attempt of it ended, and what is written of it. */
import type { LoggedEvent } from '../events/log.ts';
import type { Lag, Lane } from './lanes/lane.ts';

/** One delivery under way: an event, for one endpoint. */
export type Job = {
  readonly lane: Lane;
  readonly event: LoggedEvent;
  readonly source: 'live' | 'retry' | 'test' | 'probe' | 'replay';
  /** That its retry schedule counts. */
  readonly attempts: number;
  /** Attempts that were made, those included that cost nothing. */
  readonly sent: number;
  /** It stands in `parked` (so neither the lane's window nor a lag waits for it). */
  readonly parked: boolean;
  /** What waits for it in place of the lane's window. */
  lag: Lag | null;
  /** Monotonic milliseconds. */
  readonly queuedAt: number;
  /** Of a probe where nothing else is left to try: when its own next attempt is due. */
  readonly lastResortDueAt?: number;
  /** Of a replay: it alone deals with what comes of it, and no other delivery waits for it. */
  readonly replay?: Ticket;
};

/** `drop`: it was taken out of the queue before it was sent. */
export type Ticket = { settle(outcome: Outcome, park: Park | null): void; drop(): void };

/** Null where the connection was open already, or where it did not come so far. */
export type Timings = {
  dnsMs: number | null;
  connectMs: number | null;
  tlsMs: number | null;
  /** From the request, sent, to the first byte of the answer. */
  firstByteMs: number | null;
};

/** How one attempt ended; `failure` is null for a success. `retryAfterMs`: the receiver asked to be left alone so long. */
export type Outcome = {
  at: number;
  status: number | null;
  durationMs: number;
  timings: Timings;
  retryAfterMs: number | null;
  failure: { class: string; message: string } | null;
  snippet: string | null;
  /** W3C trace context of the attempt itself, as it was sent; null where the event belongs to no trace, or nothing was sent. */
  traceparent: string | null;
};

export type Park = { state: 'retry' | 'waiting' | 'dead'; attempts: number; dueAt: number | null };

/** What is written about a job: an attempt, a parked row, both, or the end of a parked row. */
export type Result = {
  readonly job: Job;
  readonly endpointId: string;
  readonly outcome: Outcome | null;
  readonly park: Park | null;
};
