/** What an endpoint may set for itself, and what holds where it sets nothing. */
import { DAY_MS, HOUR_MS, SECOND_MS } from '../base/clock.ts';

/** Requests under way at once: with a receiver that takes 50 ms, 320 a second. */
export const CONCURRENCY_DEFAULT = 16;
/** More sockets to one receiver than this gain nothing that was measurable, and are taken from the other endpoints. */
export const CONCURRENCY_MAX = 256;

/** Requests a second. One in ten seconds is the slowest that still drains; above the highest a limit limits nothing. */
export const RATE_PER_S_MIN = 0.1;
export const RATE_PER_S_MAX = 10_000;

/** Of one attempt, from DNS to the last byte. */
export const DEADLINE_DEFAULT_MS = 10 * SECOND_MS;
export const DEADLINE_MIN_MS = SECOND_MS;
/** While an attempt waits it holds a connection, and its item's events. */
export const DEADLINE_MAX_MS = 30 * SECOND_MS;

/** Items are refreshed some times a day: shorter silences say nothing. */
export const SILENT_AFTER_MIN_MS = HOUR_MS;
export const SILENT_AFTER_MAX_MS = 30 * DAY_MS;

/** Of an endpoint's own retry schedule: at least one second attempt, and no more attempts of an event than can be read. */
export const RETRY_DELAYS_COUNT_MIN = 1;
export const RETRY_DELAYS_COUNT_MAX = 15;
/** Less would be a loop; more than a week says nothing that a replay would not say better. */
export const RETRY_DELAY_MIN_MS = SECOND_MS;
export const RETRY_DELAY_MAX_MS = 7 * DAY_MS;

/** What is wrong with an endpoint's own schedule, as a sentence; null when it may be used. */
export function checkRetryDelays(delaysMs: readonly number[]): string | null {
  if (delaysMs.length < RETRY_DELAYS_COUNT_MIN || delaysMs.length > RETRY_DELAYS_COUNT_MAX) {
    return `A retry schedule has ${RETRY_DELAYS_COUNT_MIN} to ${RETRY_DELAYS_COUNT_MAX} delays.`;
  }
  const within = (delayMs: number) => Number.isInteger(delayMs) && delayMs >= RETRY_DELAY_MIN_MS && delayMs <= RETRY_DELAY_MAX_MS;
  return delaysMs.every(within) ? null : 'Each delay of a retry schedule is between 1 second and 7 days, in whole milliseconds.';
}
