/**
 * Live costs nothing: the lane's window waits for the endpoint. Lagging costs a row: the endpoint's own position, so that
 * the lane goes on without it. Here one becomes the other, and what is to be written of it is worked out.
 */
import type { Job } from '../job.ts';
import type { Lag, Lane, Skip } from './lane.ts';
import { holds, isSame, merge, type Position, positionOf, type Range, rangesOf, rewind, subtract } from './position.ts';

/** What lagging needs of a channel. */
export type Follower = {
  readonly endpoint: { readonly id: string };
  readonly lags: Map<number, Lag>;
  readonly queue: { jobs(): Iterable<Job>; take(which: (job: Job) => boolean): Job[] };
};

/**
 * From now on the endpoint follows this lane by itself. What it has queued or under way goes over to its own position;
 * with `drop`, what is queued is let go of and read again later.
 */
export function fallBehind(follower: Follower, lane: Lane, options: { drop: boolean } = { drop: false }): Lag {
  const { id } = follower.endpoint;
  let lag = lane.lags.get(id);
  if (!lag) {
    lag = createLag(follower, lane);
    lag.skip = rangesOf(doneAbove(lane, lane.handed, id));
    lag.closed = Math.max(lane.handed, lag.skip.at(-1)?.[1] ?? 0);
  } else if (lag.following && lag.read < lane.handed) {
    lag.read = lane.handed;
    lag.closed = Math.max(lag.closed, lane.handed);
  }
  if (lag.following) {
    lag.following = false;
    lane.behind += 1;
  }
  for (const job of follower.queue.jobs()) {
    if (job.lane !== lane || job.parked || job.lag) continue;
    job.lag = lag;
    lag.owed.add(job.event.seq);
    lane.window.close(job.event.seq);
  }
  if (options.drop) {
    const dropped = follower.queue.take((job) => job.lag === lag && !job.parked);
    Object.assign(
      lag,
      rewind(
        lag,
        dropped.map(({ event }) => event.seq),
      ),
    );
  }
  lane.changed.add(lag);
  return lag;
}

function createLag(follower: Follower, lane: Lane): Lag {
  const lag: Lag = {
    endpointId: follower.endpoint.id,
    lane,
    turns: follower.lags,
    read: lane.handed,
    owed: new Set(),
    skip: [],
    closed: 0,
    following: true,
    keepUntil: 0,
    stored: false,
    written: null,
    reading: false,
  };
  lane.lags.set(lag.endpointId, lag);
  follower.lags.set(lane.number, lag);
  return lag;
}

function doneAbove(lane: Lane, seq: number, endpointId: string): number[] {
  return [...lane.done].filter(([above, ids]) => above > seq && ids.has(endpointId)).map(([above]) => above);
}

/** As a row tells it, after a start. What the lane knows to be done above its settled position is done for the lag too. */
export function restore(follower: Follower, lane: Lane, row: Position): void {
  const { settled, ahead } = row;
  const lag = createLag(follower, lane);
  lag.read = settled;
  lag.skip = merge([...ahead, ...rangesOf(doneAbove(lane, settled, lag.endpointId))]);
  lag.closed = lag.skip.at(-1)?.[1] ?? settled;
  lag.keepUntil = ahead.at(-1)?.[1] ?? settled;
  lag.stored = true;
  // Else a start would write all the rows again that it has just read.
  lag.written = row;
  lag.following = false;
  lane.behind += 1;
}

/** It has read all that was handed to the others: from here on it follows with them. */
export function follow(lag: Lag): void {
  lag.following = true;
  lag.lane.behind -= 1;
  lag.lane.changed.add(lag);
}

/** Whether the tail hands this event to the endpoint, or its lag has dealt with it, or will. */
export function isHanded(lag: Lag | undefined, seq: number): boolean {
  return lag === undefined || (lag.following && seq > lag.read && !holds(lag.skip, seq));
}

/** Whether a read of its own has to deal with the event. */
export function isWanted(lag: Lag, seq: number): boolean {
  return !lag.owed.has(seq) && !holds(lag.skip, seq);
}

/** A job that is settled no longer holds anything back. */
export function close({ lane, lag, event: { seq } }: Job): void {
  if (!lag) {
    lane.window.close(seq);
    return;
  }
  lag.owed.delete(seq);
  if (seq > lag.closed) lag.closed = seq;
  // Let go of and read again while it was under way: it must not be sent once more.
  if (seq > lag.read) lag.skip = merge([...lag.skip, [seq, seq]]);
  if (lane.lags.get(lag.endpointId) === lag) lane.changed.add(lag);
}

/** The endpoint is gone, and with it its positions. */
export function forget(follower: Follower): void {
  for (const lag of follower.lags.values()) {
    const { lane } = lag;
    lane.lags.delete(lag.endpointId);
    lane.changed.delete(lag);
    if (!lag.following) lane.behind -= 1;
    if (lag.stored) lane.ended.add(lag.endpointId);
  }
  follower.lags.clear();
}

/** The lane is another node's now. */
export function forgetLane(lane: Lane): void {
  for (const lag of lane.lags.values()) lag.turns.delete(lane.number);
  lane.lags.clear();
  lane.changed.clear();
}

/**
 * The owner of the endpoint wants nothing up to `through`: neither what it has not had nor what is `parked`. What is under
 * way ends as it ends. Nothing to do the second time.
 */
export function skipThrough(follower: Follower, lane: Lane, through: number, parked: readonly number[]): void {
  const { id } = follower.endpoint;
  const behind = (lane.lags.get(id) !== undefined || lane.window.settled < through) && openThrough(lane, id, through).length > 0;
  if (!behind && parked.length === 0) return;
  let ranges: Range[] = [];
  if (behind) {
    const lag = fallBehind(follower, lane, { drop: true });
    ranges = openThrough(lane, id, through);
    lag.read = Math.max(lag.read, through);
    lag.closed = Math.max(lag.closed, through);
    lag.keepUntil = Math.max(lag.keepUntil, through);
  }
  lane.skips.push({ endpointId: id, ranges: merge([...ranges, ...rangesOf(parked)]), parked });
}

/** What it has not had, and what is not under way. */
function openThrough(lane: Lane, endpointId: string, through: number): Range[] {
  const lag = lane.lags.get(endpointId);
  const read = lag === undefined ? lane.window.settled : lag.following ? Math.max(lag.read, lane.window.settled) : lag.read;
  if (read >= through) return [];
  return subtract([[read + 1, through]], merge([...(lag?.skip ?? []), ...rangesOf(lag?.owed ?? [])]));
}

export type LagWrites = { positions: { lag: Lag; position: Position }[]; ended: string[]; skips: Skip[] };

/**
 * What to write together with the lane's settled position. A row is needed no earlier than the lane passes it, and goes
 * when nothing is owed: what the endpoint had after `read`, the lane's position tells.
 */
export function takeWrites(lane: Lane, settled: number): LagWrites | null {
  if (lane.changed.size === 0 && lane.ended.size === 0 && lane.skips.length === 0) return null;
  const positions: LagWrites['positions'] = [];
  for (const lag of lane.changed) {
    if (lag.following && lag.owed.size === 0 && settled >= lag.keepUntil) {
      lane.changed.delete(lag);
      lane.lags.delete(lag.endpointId);
      lag.turns.delete(lane.number);
      if (lag.stored) lane.ended.add(lag.endpointId);
      continue;
    }
    const through = lag.following ? Math.max(lag.read, settled) : lag.read;
    const position = positionOf({ ...lag, read: through, closed: lag.following ? through : lag.closed });
    if (!lag.stored && position.settled >= settled && lag.keepUntil <= settled) continue;
    if (!lag.following) lane.changed.delete(lag);
    // One that hangs reads on and settles nothing.
    if (lag.written && isSame(lag.written, position)) continue;
    positions.push({ lag, position });
    lag.stored = true;
    lag.written = position;
  }
  const writes = { positions, ended: [...lane.ended], skips: lane.skips };
  lane.ended.clear();
  lane.skips = [];
  return positions.length + writes.ended.length + writes.skips.length > 0 ? writes : null;
}

/** They could not be written: once more with the next flush. */
export function putBack(lane: Lane, { positions, ended, skips }: LagWrites): void {
  for (const { lag } of positions) {
    lag.written = null;
    if (lane.lags.get(lag.endpointId) === lag) lane.changed.add(lag);
  }
  for (const id of ended) lane.ended.add(id);
  for (const { lag } of positions) if (lane.lags.get(lag.endpointId) !== lag) lane.ended.add(lag.endpointId);
  lane.skips = [...skips, ...lane.skips];
}
