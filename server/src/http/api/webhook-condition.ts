/** The `health` and the `backlog` of a webhook, as the management API and the command line show them. */
import { isoTimestamp } from '../../base/clock.ts';
import type { Condition } from '../../delivery/attempts/condition.ts';

export type ShownCondition = { health: object; backlog: object };

export function showCondition(condition: Condition): ShownCondition {
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
