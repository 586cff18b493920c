/** For tests of what is settled. */
import { missing } from '../channels/due.ts';
import type { Job, Result } from '../job.ts';
import type { Lane } from '../lanes/lane.ts';

/** A first attempt that was taken well. */
export function resultOf(lane: Lane, seq: number): Result {
  const event = {
    ...missing({ endpoint_id: 'wh_a', lane: lane.number, seq, item_id: 1, attempts: 0, sent: 0 }),
    segment: 1,
    type: 'item.created',
  };
  const job: Job = { lane, event, source: 'live', attempts: 0, sent: 0, parked: false, lag: null, queuedAt: 0 };
  const timings = { dnsMs: null, connectMs: null, tlsMs: null, firstByteMs: 1 };
  const outcome = { at: 0, status: 200, durationMs: 1, timings, retryAfterMs: null, failure: null, snippet: null, traceparent: null };
  return { job, endpointId: 'wh_a', outcome, park: null };
}
