/** When a failed refresh is tried again by itself. Pure. */
import { HOUR_MS, MINUTE_MS } from '../../base/clock.ts';

/** After the first failure in a row, the second, and so on; the last repeats. */
export const BACK_OFF_MS: readonly number[] = [15 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS, 12 * HOUR_MS, 24 * HOUR_MS];
/** Jitter is full, from nothing to the whole step, but a bank that has just failed has at least this long. */
export const RETRY_GAP_MIN_MS = MINUTE_MS;
/** A bank that asks for more patience than this has made a mistake in a unit. */
export const RETRY_AFTER_MAX_MS = 7 * 24 * HOUR_MS;

/** `failures` in a row, at least 1; `chance` from 0 to 1. The bank's own word comes first where it asks for longer. */
export function retryAt(failures: number, retryAfterMs: number | null, chance: number, now: number): number {
  const stepMs = BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length) - 1]!;
  return now + Math.ceil(Math.max(RETRY_GAP_MIN_MS, chance * stepMs, patienceMs(retryAfterMs)));
}

/** How long the bank is left in peace at its own wish. */
export function patienceMs(retryAfterMs: number | null): number {
  return Math.min(Math.max(Math.ceil(retryAfterMs ?? 0), 0), RETRY_AFTER_MAX_MS);
}
