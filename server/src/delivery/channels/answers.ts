/** What an attempt's outcome says of its endpoint, and what becomes of its event. Pure. */
import type { Job, Outcome, Park } from '../job.ts';
import { BROKEN_OFF } from '../sending/failure.ts';
import type { Answer, Health } from './health.ts';
import type { PaceAnswer } from './pace.ts';
import { afterFailure } from './retry.ts';

export function answerOf({ failure, retryAfterMs }: Outcome): Answer {
  if (failure === null) return { kind: 'success' };
  if (failure.class === 'gone') return { kind: 'gone' };
  return retryAfterMs === null ? { kind: 'failure' } : { kind: 'throttled', retryAfterMs };
}

/** Classes of failures before a request was on its way: no event can be the cause. */
const UNREACHED: ReadonlySet<string> = new Set(['dns', 'refused', 'unreachable', 'tls', 'guard', 'proxy']);

export function isUnreached({ failure }: Outcome): boolean {
  return failure !== null && UNREACHED.has(failure.class);
}

/** Nothing is known of it: whoever has its lane sends it again. */
export function isBrokenOff({ failure }: Outcome): boolean {
  return failure !== null && failure.class === BROKEN_OFF.class;
}

/** 429 asks for less, with or without a time. */
export function paceAnswerOf({ failure, status }: Outcome): PaceAnswer {
  if (failure === null) return 'success';
  return status === 429 ? 'throttled' : 'failure';
}

/**
 * Nothing else is left to try, so whether the receiver is down or refuses this event cannot be told: the event's own schedule
 * goes on, or one that is refused would keep a receiver that is well in the dark, and its item's other events with it.
 */
export function isOwnAttempt({ lastResortDueAt }: Job, outcome: Outcome, now: number): boolean {
  return lastResortDueAt !== undefined && lastResortDueAt <= now && answerOf(outcome).kind === 'failure' && !isUnreached(outcome);
}

type Failed = { costsAttempt: boolean; health: Health; delaysMs: readonly number[] | null; now: number; random: () => number };

/** After a failed attempt. What costs nothing is tried again as soon as the endpoint may be sent to, or when it was to be tried before. */
export function parkAfter(job: Job, { costsAttempt, health, delaysMs, now, random }: Failed): Park {
  if (!costsAttempt)
    return { state: 'retry', attempts: job.attempts, dueAt: Math.max(now, health.pause?.until ?? now, job.lastResortDueAt ?? now) };
  const attempts = job.attempts + 1;
  return { attempts, ...afterFailure(attempts, now, random(), delaysMs ?? undefined) };
}
