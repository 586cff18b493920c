/** Attempts: every time an event was sent to a webhook, with its timings and a sentence for what failed. */
import { isoTimestamp } from '../../base/clock.ts';
import type { Attempt } from '../../delivery/attempts/read.ts';
import { eventId } from '../../events/log.ts';

export function showAttempt(attempt: Attempt): object {
  return {
    event_id: eventId(attempt.lane, attempt.seq),
    type: attempt.type,
    item_id: attempt.itemId,
    webhook_id: attempt.endpointId,
    source: attempt.source,
    replay_id: attempt.replayId === '' ? null : attempt.replayId,
    n: attempt.n,
    at: isoTimestamp(attempt.at),
    outcome: attempt.delivered ? 'delivered' : 'failed',
    status: attempt.status,
    timings: {
      dns_ms: attempt.dnsMs,
      connect_ms: attempt.connectMs,
      tls_ms: attempt.tlsMs,
      first_byte_ms: attempt.firstByteMs,
      total_ms: attempt.durationMs,
    },
    failure: attempt.failure,
    message: attempt.message,
    answer: attempt.snippet,
  };
}
