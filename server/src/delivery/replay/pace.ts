/** So many a second, evenly: a pause is not made up for. */
export type Pace = {
  /** 0 when one may go now, and it is counted; else how many milliseconds to wait. `share` of the rate is this node's. */
  take(share: number): number;
};

/** Timers are late by some milliseconds: what they miss of this is made up for, so that the rate is kept. */
const LATE_MAX_MS = 100;

export function createPace(ratePerS: number, monotonicMs: () => number): Pace {
  let nextAt = 0;
  return {
    take(share) {
      const now = monotonicMs();
      if (nextAt > now) return Math.ceil(nextAt - now);
      nextAt = Math.max(nextAt, now - LATE_MAX_MS) + 1_000 / (ratePerS * Math.max(share, Number.EPSILON));
      return 0;
    },
  };
}
