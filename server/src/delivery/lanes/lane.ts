/** What a node keeps of a lane it leases. */
import type { LoggedEvent } from '../../events/log.ts';
import type { Position, Range } from './position.ts';
import { createWindow, type Window } from './window.ts';

export type Lane = {
  readonly number: number;
  readonly epoch: number;
  /** Set when another node has taken it: whatever is still under way for it is dropped. */
  lost: boolean;
  /** It is being handed over: nothing more of it is sent. Since when, in monotonic milliseconds. */
  leavingSince: number | null;
  /** Requests of it under way. */
  underWay: number;
  /** It may have events after `read`, the newest seq that was read. */
  moved: boolean;
  read: number;
  /** Read and not yet handed to queues, in order. */
  pending: LoggedEvent[];
  /** The newest seq that was handed to the endpoints that follow. */
  handed: number;
  /** Above the settled position: endpoints that already had the event, or have it parked, before this node started. */
  done: Map<number, Set<string>>;
  window: Window;
  /** The settled position that is committed. */
  written: number;
  /** Endpoints that lag here, by id. */
  readonly lags: Map<string, Lag>;
  /** How many of them do not follow. */
  behind: number;
  /** Lags whose row is not what it should be. */
  readonly changed: Set<Lag>;
  /** Endpoints whose row goes with the next flush. */
  readonly ended: Set<string>;
  /** Skipped by the owner's choice, and not yet written. */
  skips: Skip[];
};

/** An endpoint that follows the lane by reads of its own. */
export type Lag = {
  readonly endpointId: string;
  readonly lane: Lane;
  /** The channel's lags by lane, least recently served first. */
  readonly turns: Map<number, Lag>;
  read: number;
  owed: Set<number>;
  skip: readonly Range[];
  closed: number;
  /** It has caught up: the tail hands it what comes after `read`, and the lane's window waits for that. */
  following: boolean;
  /** Its row stays until the lane has settled this far: nothing else tells what was skipped. */
  keepUntil: number;
  /** A row of it may exist. */
  stored: boolean;
  /** What its row says; null where that is not known. */
  written: Position | null;
  /** One read at a time. */
  reading: boolean;
};

/** Ranges that an endpoint does not get, and its parked rows among them. */
export type Skip = { endpointId: string; ranges: readonly Range[]; parked: readonly number[] };

export function createLane(number: number, epoch: number, settled: number): Lane {
  return {
    number,
    epoch,
    lost: false,
    leavingSince: null,
    underWay: 0,
    moved: true,
    read: settled,
    pending: [],
    handed: settled,
    done: new Map(),
    window: createWindow(settled),
    written: settled,
    lags: new Map(),
    behind: 0,
    changed: new Set(),
    ended: new Set(),
    skips: [],
  };
}
