/** What a node keeps of a lane it leases. */
import type { LoggedEvent } from '../../events/log.ts';
import { createWindow, type Window } from './window.ts';

export type Lane = {
  readonly number: number;
  readonly epoch: number;
  /** Set when another node has taken it: whatever is still under way for it is dropped. */
  lost: boolean;
  /** It may have events after `read`, the newest seq that was read. */
  moved: boolean;
  read: number;
  /** Read and not yet handed to queues, in order. */
  pending: LoggedEvent[];
  /** Above the settled position: endpoints that already had the event, or have it parked, before this node started. */
  done: Map<number, Set<string>>;
  window: Window;
  /** The settled position that is committed. */
  written: number;
};

export function createLane(number: number, epoch: number, settled: number): Lane {
  return {
    number,
    epoch,
    lost: false,
    moved: true,
    read: settled,
    pending: [],
    done: new Map(),
    window: createWindow(settled),
    written: settled,
  };
}

/** One delivery under way: an event, for one endpoint. */
export type Job = {
  readonly lane: Lane;
  readonly event: LoggedEvent;
  readonly source: 'live' | 'retry' | 'test';
  /** Attempts already made. */
  readonly attempts: number;
  /** It stands in `parked` (so the lane's window does not wait for it). */
  readonly parked: boolean;
  /** Monotonic milliseconds. */
  readonly queuedAt: number;
};

/** How one attempt ended; `failure` is null for a success. */
export type Outcome = {
  at: number;
  status: number | null;
  durationMs: number;
  failure: { class: string; message: string } | null;
  snippet: string | null;
};

/** What is written about a job: an attempt, a parked row, both, or the end of a parked row. */
export type Result = {
  readonly job: Job;
  readonly endpointId: string;
  readonly outcome: Outcome | null;
  readonly park: { state: 'retry' | 'waiting' | 'dead'; attempts: number; dueAt: number | null } | null;
};
