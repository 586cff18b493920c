/** When a failed delivery is tried again. Pure. */
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../base/clock.ts';

/** About three days in all, longer than a weekend's outage; after the last one the delivery is dead. */
export const RETRY_DELAYS_MS: readonly number[] = [
  5 * SECOND_MS,
  30 * SECOND_MS,
  2 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  6 * HOUR_MS,
  12 * HOUR_MS,
  24 * HOUR_MS,
  24 * HOUR_MS,
];
/** Each delay is moved by up to this share, so that what failed together does not return together. */
export const RETRY_JITTER = 0.2;

export type NextAttempt = { state: 'retry'; dueAt: number } | { state: 'dead'; dueAt: null };

/** After `attempts` failures (at least 1), at `now` (epoch ms); `random` is uniform in [0, 1). `delaysMs` is the endpoint's own schedule. */
export function afterFailure(attempts: number, now: number, random: number, delaysMs: readonly number[] = RETRY_DELAYS_MS): NextAttempt {
  const delayMs = delaysMs[attempts - 1];
  if (delayMs === undefined) return { state: 'dead', dueAt: null };
  return { state: 'retry', dueAt: now + Math.round(delayMs * (1 - RETRY_JITTER + 2 * RETRY_JITTER * random)) };
}
