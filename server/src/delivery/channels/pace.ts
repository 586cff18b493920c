/**
 * How fast one node may send to one endpoint: how many requests at once, how many a second, and how a drain begins after
 * an outage. Deterministic: time is given (monotonic ms), nothing is read and nothing waits.
 */
import { LANES } from '../../events/log.ts';

/** One step of the multiplicative decrease: throughput follows within a few answers, and is regained as fast. */
export const DECREASE_FACTOR = 0.7;
/** Answers are slow when they take this much longer than the receiver's own best, in share … */
export const SLOW_FACTOR = 2;
/** … and in time: below it, what is measured is this machine and not the receiver. */
export const SLOW_AT_LEAST_MS = 100;
/** Weight of the newest answer in the mean: about the last ten count. */
const MEAN_WEIGHT = 0.1;
/** The best known latency forgets itself by this share per answer, so that a receiver that has moved is not slow for ever. */
const BEST_DRIFT = 0.002;

/** Tokens held at most, as time: what a timer of Node's may be late, and no burst that a receiver could notice. */
const BURST_MS = 20;
/** A whole token, for sums of floating point. */
const ONE_TOKEN = 1 - 1e-9;

/**
 * After an outage: requests a second at first, doubled with every step in which nearly all succeed, halved with one in which most
 * fail or that is too much for the receiver by its own word. One that fails now and then, as it always has, must come to its pace:
 * one failure in a step of 25 requests would hold it at the first step for good.
 */
export const RAMP_START_PER_S = 50;
export const RAMP_STEP_MS = 500;
/** Share of a step's answers. */
const RAMP_FAILURES_BORNE = 0.2;
/** From here on a ramp holds nothing back that one node could send. */
export const RAMP_END_PER_S = 20_000;

export type PaceSettings = {
  /** Of the endpoint, over all nodes. */
  concurrencyMax: number;
  /** Of the endpoint, over all nodes; null: as fast as it takes them. */
  ratePerS: number | null;
  /** Of this node, 0 to 64. */
  lanesOwned: number;
};

export type PaceAnswer = 'success' | 'failure' | 'throttled';

export type Pace = {
  /** Requests this node may have under way now: 1 to its share of the maximum. */
  readonly concurrency: number;
  /** Requests a second this node may begin now; infinite without a limit. */
  readonly ratePerS: number;
  readonly ramping: boolean;
  mayStart(underWay: number, now: number): boolean;
  /** When the rate allows the next request; `now` when it does already. */
  nextStartAt(now: number): number;
  started(now: number): void;
  /** `underWay` counted this one. */
  finished(answer: PaceAnswer, latencyMs: number, underWay: number, now: number): void;
  /** After an outage: one request at a time and few a second, until the receiver has shown that it takes more. */
  beginRamp(now: number): void;
  configure(settings: PaceSettings, now: number): void;
};

/** A node's share of the requests at once: by lanes owned, at least 1. */
export function shareOfConcurrency({ concurrencyMax, lanesOwned }: PaceSettings): number {
  return Math.max(1, Math.floor((concurrencyMax * lanesOwned) / LANES));
}

/** A node's share of the rate: exactly by lanes owned, so that the sum over nodes is the endpoint's limit. */
export function shareOfRate({ ratePerS, lanesOwned }: PaceSettings): number {
  return ratePerS === null ? Number.POSITIVE_INFINITY : (ratePerS * Math.max(lanesOwned, 0)) / LANES;
}

const rampStep = (perS: number, now: number) => ({
  ...{ perS, stepEndsAt: now + RAMP_STEP_MS },
  answers: { success: 0, failure: 0, throttled: 0 },
});

export function createPace(initial: PaceSettings): Pace {
  let settings = initial;
  let limit = shareOfConcurrency(initial);
  let meanMs: number | null = null;
  let bestMs = Number.POSITIVE_INFINITY;
  /** Answers until the next decrease: those that are under way were asked for at the old pace. */
  let holdDecreases = 0;
  let ramp: { perS: number; stepEndsAt: number; answers: Record<PaceAnswer, number> } | null = null;
  let tokens = 1;
  let filledAt: number | null = null;

  const ratePerS = () => Math.min(shareOfRate(settings), ramp?.perS ?? Number.POSITIVE_INFINITY);
  const capacity = (perS: number) => Math.max(1, (perS * BURST_MS) / 1_000);

  function fill(now: number) {
    const perS = ratePerS();
    if (perS === Number.POSITIVE_INFINITY) return;
    const elapsedMs = Math.max(0, now - (filledAt ?? now));
    tokens = Math.min(capacity(perS), tokens + (elapsedMs * perS) / 1_000);
    filledAt = now;
  }

  function stepRamp(now: number) {
    if (!ramp || now < ramp.stepEndsAt) return;
    fill(now);
    const { success, failure, throttled } = ramp.answers;
    let { perS } = ramp;
    if (throttled > 0 || failure > success) perS = Math.max(RAMP_START_PER_S, perS / 2);
    else if (success > 0 && failure <= (success + failure) * RAMP_FAILURES_BORNE) perS *= 2;
    ramp = rampStep(perS, now);
    if (ramp.perS >= RAMP_END_PER_S || ramp.perS >= shareOfRate(settings)) ramp = null;
  }

  function isSlow(latencyMs: number): boolean {
    bestMs = Math.min(latencyMs, bestMs * (1 + BEST_DRIFT));
    meanMs = meanMs === null ? latencyMs : meanMs + MEAN_WEIGHT * (latencyMs - meanMs);
    return meanMs > bestMs * SLOW_FACTOR && meanMs > bestMs + SLOW_AT_LEAST_MS;
  }

  function decrease() {
    if (holdDecreases > 0) return;
    limit = Math.max(1, limit * DECREASE_FACTOR);
    holdDecreases = Math.floor(limit);
  }

  return {
    get concurrency() {
      return Math.max(1, Math.floor(limit));
    },
    get ratePerS() {
      return ratePerS();
    },
    get ramping() {
      return ramp !== null;
    },
    mayStart(underWay, now) {
      if (underWay >= Math.max(1, Math.floor(limit))) return false;
      if (ramp === null && settings.ratePerS === null) return true;
      stepRamp(now);
      fill(now);
      return tokens >= ONE_TOKEN || ratePerS() === Number.POSITIVE_INFINITY;
    },
    nextStartAt(now) {
      stepRamp(now);
      fill(now);
      const perS = ratePerS();
      if (perS === Number.POSITIVE_INFINITY || tokens >= ONE_TOKEN) return now;
      return perS === 0 ? Number.POSITIVE_INFINITY : now + ((1 - tokens) * 1_000) / perS;
    },
    started(now) {
      fill(now);
      if (ratePerS() !== Number.POSITIVE_INFINITY) tokens -= 1;
    },
    finished(answer, latencyMs, underWay, now) {
      if (holdDecreases > 0) holdDecreases -= 1;
      if (ramp) {
        stepRamp(now);
        if (ramp) ramp.answers[answer] += 1;
      }
      if (answer !== 'success') return decrease();
      if (isSlow(latencyMs)) return decrease();
      // What is not used proves nothing.
      if (underWay >= Math.floor(limit)) limit = Math.min(shareOfConcurrency(settings), limit + 1 / limit);
    },
    beginRamp(now) {
      fill(now);
      limit = 1;
      holdDecreases = 0;
      meanMs = null;
      ramp = rampStep(RAMP_START_PER_S, now);
      tokens = Math.min(tokens, 1);
      filledAt = now;
      if (shareOfRate(settings) <= RAMP_START_PER_S) ramp = null;
    },
    configure(next, now) {
      fill(now);
      const share = shareOfConcurrency(next);
      // A larger share is used at once by an endpoint that was held back by nothing else.
      limit = ramp === null && limit >= shareOfConcurrency(settings) ? share : Math.min(limit, share);
      settings = next;
      tokens = Math.min(tokens, capacity(ratePerS()));
      filledAt = now;
    },
  };
}
