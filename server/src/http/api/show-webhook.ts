/** A webhook with its settings, its health and its backlog, as the management API and the command line (`--json`) show it. */
import { isoTimestamp } from '../../base/clock.ts';
import type { Condition } from '../../delivery/attempts/condition.ts';
import type { Endpoint } from '../../endpoints/endpoints.ts';

/** Settings are null where the server's default holds. */
export function showWebhook(endpoint: Endpoint, condition: Condition): object {
  const { encryption, clientCertificate } = endpoint;
  return {
    id: endpoint.id,
    name: endpoint.name,
    url: endpoint.url,
    events: endpoint.events,
    enabled: endpoint.enabled,
    disabled_reason: endpoint.disabledReason,
    disabled_at: timeOrNull(endpoint.disabledAt),
    settings: {
      ordering: endpoint.ordering,
      concurrency_max: endpoint.concurrencyMax,
      rate_per_s: endpoint.ratePerS,
      deadline_ms: endpoint.deadlineMs,
      retry_delays_ms: endpoint.retryDelaysMs,
      silent_after_ms: endpoint.silentAfterMs,
      custom_header_names: endpoint.customHeaderNames,
      client_certificate: clientCertificate && {
        subject: clientCertificate.subject,
        expires_at: isoTimestamp(clientCertificate.expiresAt),
        fingerprint: clientCertificate.fingerprint,
      },
      encryption: encryption && { alg: encryption.alg, enc: encryption.enc, kid: encryption.key.kid ?? null },
    },
    ...showCondition(condition),
    created_at: isoTimestamp(endpoint.createdAt),
    updated_at: isoTimestamp(endpoint.updatedAt),
  };
}

function showCondition(condition: Condition): { health: object; backlog: object } {
  const { behind, behindSince, retry, waiting, dead } = condition.backlog;
  return {
    health: {
      circuit: condition.circuit,
      failures_in_a_row: condition.failuresInARow,
      failing_since: timeOrNull(condition.failingSince),
      next_probe_at: timeOrNull(condition.nextProbeAt),
      paused_until: timeOrNull(condition.pausedUntil),
      last_success_at: timeOrNull(condition.lastSuccessAt),
      last_failure_at: timeOrNull(condition.lastFailureAt),
    },
    backlog: { events_behind: behind, behind_since: timeOrNull(behindSince), retry, waiting, dead },
  };
}

const timeOrNull = (ms: number | null) => (ms === null ? null : isoTimestamp(ms));
