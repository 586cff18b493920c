/** The order of the attempt log, newest first. Compared here and never by the database, whose order of texts is its own. */
import type { Attempt } from './read.ts';

/** The place of an attempt in the list. */
export type AttemptKey = Pick<Attempt, 'at' | 'lane' | 'seq' | 'endpointId' | 'source' | 'replayId' | 'n'>;

export function keyOf({ at, lane, seq, endpointId, source, replayId, n }: AttemptKey): AttemptKey {
  return { at, lane, seq, endpointId, source, replayId, n };
}

/** Whether `a` stands before `b`: by time, and of the same millisecond by event. */
export function isBefore(a: AttemptKey, b: AttemptKey): boolean {
  if (a.at !== b.at) return a.at > b.at;
  if (a.lane !== b.lane) return a.lane > b.lane;
  if (a.seq !== b.seq) return a.seq > b.seq;
  if (a.endpointId !== b.endpointId) return a.endpointId > b.endpointId;
  if (a.source !== b.source) return a.source > b.source;
  return a.replayId === b.replayId ? a.n > b.n : a.replayId > b.replayId;
}

/** For sorting: in the order of time. */
export const byTime = (a: AttemptKey, b: AttemptKey): number => (isBefore(a, b) ? -1 : 1);
/** For sorting those of one lane: the newest event first, and of one event the newest attempt. */
export const byEvent = (a: AttemptKey, b: AttemptKey): number => (a.seq === b.seq ? byTime(a, b) : b.seq - a.seq);
