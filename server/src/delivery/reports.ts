/** What is told of each attempt once it is committed: to metrics, traces and the log. */
import type { Job, Outcome, Park, Result } from './job.ts';
import type { ReplayResult } from './replay/settle.ts';

/** After its commit. `n` counts the attempts of this event for this endpoint from 1. */
export type AttemptReport = {
  eventId: string;
  type: string;
  applicationId: string;
  endpointId: string;
  source: Job['source'];
  n: number;
  /** Epoch milliseconds. */
  committedAt: number;
  /** W3C trace context of the work that made the event. */
  parent: string | null;
  /** What becomes of a failure. */
  next: 'retry' | 'waiting' | 'dead' | null;
} & Outcome;

type Made = Pick<Job, 'event' | 'source' | 'sent'> & { endpointId: string; outcome: Outcome; park: Park | null };

/** Null for what was closed without an attempt. */
export function reportOfResult({ job: { event, source, sent }, endpointId, outcome, park }: Result): AttemptReport | null {
  return outcome && reportOf({ event, source, sent, endpointId, outcome, park });
}

export function reportOfReplay(endpointId: string, { outcome, ...result }: ReplayResult): AttemptReport | null {
  return outcome && reportOf({ ...result, endpointId, outcome, source: 'replay' });
}

function reportOf({ event, source, sent, endpointId, outcome, park }: Made): AttemptReport {
  const named = { eventId: event.id, type: event.type, applicationId: event.applicationId, endpointId };
  const { committedAt, traceparent: parent } = event;
  return { ...named, committedAt, parent, source, n: sent + 1, next: park?.state ?? null, ...outcome };
}
