/**
 * How an endpoint fares: a circuit that opens when it fails, and the pauses that it asks for. Pure; every time is epoch
 * milliseconds and given. What a transition means for others (a log line, an operational event) stands in its answer.
 */
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../base/clock.ts';
import { RETRY_AFTER_MAX_MS } from '../sending/retry-after.ts';

/** In a row and across items: one item that a receiver cannot take does not close the way for the others. */
export const FAILURES_TO_OPEN = 10;
/** While it recovers: three in a row are no accident, and each one costs an event an attempt. */
export const FAILURES_TO_REOPEN = 3;
/**
 * Failures in a row before a request was on its way, where all that could be tried waits behind them: one item can be all
 * there is, and its ten failures would take three days.
 */
export const UNREACHED_TO_OPEN = 3;
/** Doubled by each failed probe: a restart is found soon, an outage of hours costs four requests an hour. */
export const PROBE_INTERVAL_MIN_MS = 30 * SECOND_MS;
export const PROBE_INTERVAL_MAX_MS = 15 * MINUTE_MS;
/** A probe that was begun belongs to its node for this long: more than the longest deadline of an attempt (30 s). */
export const PROBE_CLAIM_MS = MINUTE_MS;

/** A receiver that asks for pauses and takes nothing for this long fails, whatever it says. */
export const PAUSES_WITHOUT_SUCCESS_MAX_MS = DAY_MS;
/** A pause this short is sat out with what is queued; for a longer one the endpoint leaves the tail (lagging). */
export const PAUSE_LIVE_MAX_MS = 5 * SECOND_MS;
/** Answers of one moment ask for the same pause: less growth than this is not worth a row. */
export const PAUSE_GROWTH_MIN_MS = SECOND_MS;

/** The clocks of two nodes, and pauses that grew too little to be kept, may put a time this much further ahead than a rule does. */
export const REACH_TOLERANCE_MS = MINUTE_MS;

/** Longer than a long weekend. */
export const DISABLE_AFTER_MS = 5 * DAY_MS;
export const DISABLE_PROBES_MIN = 20;
export const DISABLE_HOURS_MIN = 20;
/**
 * Between two failed probes no more than this counts as observed: a jump of the clock, a server that was off, or an
 * endpoint without events is no evidence. It is the rule's own measure, 5 days in 20 probes.
 */
export const OBSERVED_GAP_MAX_MS = DISABLE_AFTER_MS / DISABLE_PROBES_MIN;

export type Circuit =
  | { state: 'closed'; failing: { failures: number; since: number } | null }
  | {
      state: 'open';
      failures: number;
      since: number;
      /** Failed probes of this run, the distinct hours they fell in, and how much of the time they witness. */
      probes: number;
      probeHours: number;
      lastProbeHour: number | null;
      observedMs: number;
      nextProbeAt: number;
    }
  /**
   * It answered again after the outage that began at `since`; failures in a row since then. Not `answered`: so far only its
   * owner says that it is well.
   */
  | { state: 'half_open'; since: number; failures: number; answered: boolean };

export type Health = {
  circuit: Circuit;
  /** The newest pause, and when the first one after the last success was asked for. */
  pause: { since: number; until: number } | null;
  lastSuccessAt: number | null;
  lastFailureAt: number | null;
};

export type Answer =
  | { kind: 'success' }
  | { kind: 'failure' }
  /** 429 or 503 that names a time, at most 6 h away. */
  | { kind: 'throttled'; retryAfterMs: number }
  /** 410: never again. */
  | { kind: 'gone' };

export type Transition =
  | { kind: 'failing'; since: number; failures: number }
  | { kind: 'recovering'; since: number }
  | { kind: 'recovered'; since: number }
  | { kind: 'paused'; until: number }
  | { kind: 'disabled'; reason: 'gone' | 'failing'; since: number };

export type Observed = {
  health: Health;
  raised: readonly Transition[];
  /** Probes and pauses are logged and cost nothing. */
  costsAttempt: boolean;
};

export const HEALTHY: Health = { circuit: { state: 'closed', failing: null }, pause: null, lastSuccessAt: null, lastFailureAt: null };

/** What one attempt's answer, complete at `now`, makes of it. */
export function observe(health: Health, answer: Answer, probe: boolean, now: number): Observed {
  switch (answer.kind) {
    case 'success':
      return succeeded(health, now);
    case 'failure':
      return failed(health, probe, now);
    case 'throttled':
      return throttled(health, answer.retryAfterMs, probe, now);
    case 'gone': {
      const raised: Transition[] = [{ kind: 'disabled', reason: 'gone', since: now }];
      return { health: { ...health, lastFailureAt: now }, raised, costsAttempt: !probe };
    }
    default:
      return answer satisfies never;
  }
}

function succeeded(health: Health, now: number): Observed {
  const { circuit, pause } = health;
  // Requests that were under way when it asked for a pause may still be taken: the pause holds.
  const kept = pause && pause.until > now ? { since: now, until: pause.until } : null;
  const answered = { ...health, pause: kept, lastSuccessAt: now };
  switch (circuit.state) {
    case 'closed':
      return { health: { ...answered, circuit: { state: 'closed', failing: null } }, raised: [], costsAttempt: true };
    case 'open': {
      const raised: Transition[] = [{ kind: 'recovering', since: circuit.since }];
      const halfOpen: Circuit = { state: 'half_open', since: circuit.since, failures: 0, answered: true };
      return { health: { ...answered, circuit: halfOpen }, raised, costsAttempt: true };
    }
    case 'half_open':
      return { health: { ...answered, circuit: { ...circuit, failures: 0, answered: true } }, raised: [], costsAttempt: true };
    default:
      return circuit satisfies never;
  }
}

function failed(health: Health, probe: boolean, now: number): Observed {
  const { circuit } = health;
  const next = (changed: Circuit, raised: Transition[] = []): Observed => ({
    health: { ...health, circuit: changed, lastFailureAt: now },
    raised,
    costsAttempt: !probe,
  });
  switch (circuit.state) {
    case 'closed': {
      const failures = (circuit.failing?.failures ?? 0) + 1;
      const since = circuit.failing?.since ?? now;
      if (failures < FAILURES_TO_OPEN) return next({ state: 'closed', failing: { failures, since } });
      return next(opened(failures, since, now), [{ kind: 'failing', since, failures }]);
    }
    case 'half_open': {
      const failures = circuit.failures + 1;
      if (failures < FAILURES_TO_REOPEN) return next({ ...circuit, failures });
      // Operators know of this outage already: it was never reported as over.
      return next(opened(failures, now, now));
    }
    case 'open': {
      const failures = circuit.failures + 1;
      if (!probe) return next({ ...circuit, failures });
      const probed = probeFailed({ ...circuit, failures }, health.lastFailureAt, now);
      return next(probed, disables(probed) ? [{ kind: 'disabled', reason: 'failing', since: circuit.since }] : []);
    }
    default:
      return circuit satisfies never;
  }
}

/** The receiver cannot be reached, and nothing else is left to try. */
export function giveUp(health: Health, now: number): { health: Health; raised: readonly Transition[] } {
  const { circuit } = health;
  if (circuit.state !== 'closed' || circuit.failing === null) return { health, raised: [] };
  const { failures, since } = circuit.failing;
  return { health: { ...health, circuit: opened(failures, since, now) }, raised: [{ kind: 'failing', since, failures }] };
}

type Open = Extract<Circuit, { state: 'open' }>;

function opened(failures: number, since: number, now: number): Open {
  const nextProbeAt = now + PROBE_INTERVAL_MIN_MS;
  return { state: 'open', failures, since, probes: 0, probeHours: 0, lastProbeHour: null, observedMs: 0, nextProbeAt };
}

function probeFailed(circuit: Open, lastFailureAt: number | null, now: number): Open {
  const hour = Math.floor(now / HOUR_MS);
  const another = circuit.lastProbeHour === null || hour > circuit.lastProbeHour;
  const probes = circuit.probes + 1;
  return {
    ...circuit,
    probes,
    probeHours: circuit.probeHours + (another ? 1 : 0),
    lastProbeHour: another ? hour : circuit.lastProbeHour,
    observedMs: circuit.observedMs + Math.min(Math.max(now - (lastFailureAt ?? now), 0), OBSERVED_GAP_MAX_MS),
    nextProbeAt: now + probeIntervalMs(probes),
  };
}

/** After this many failed probes. */
export function probeIntervalMs(probes: number): number {
  return Math.min(PROBE_INTERVAL_MIN_MS * 2 ** probes, PROBE_INTERVAL_MAX_MS);
}

function disables({ probes, probeHours, observedMs }: Open): boolean {
  return probes >= DISABLE_PROBES_MIN && probeHours >= DISABLE_HOURS_MIN && observedMs >= DISABLE_AFTER_MS;
}

function throttled(health: Health, retryAfterMs: number, probe: boolean, now: number): Observed {
  const since = health.pause?.since ?? now;
  if (now - since >= PAUSES_WITHOUT_SUCCESS_MAX_MS) return failed(health, probe, now);
  const { circuit } = health;
  const before = health.pause && health.pause.until > now ? health.pause.until : null;
  const until = Math.max(now + retryAfterMs, before ?? 0);
  const grown = before === null || until - before >= PAUSE_GROWTH_MIN_MS;
  return {
    health: {
      ...health,
      pause: { since, until: grown ? until : before },
      circuit: circuit.state === 'open' && probe ? { ...circuit, nextProbeAt: until } : circuit,
    },
    raised: grown ? [{ kind: 'paused', until }] : [],
    costsAttempt: false,
  };
}

/** With the probe claimed, or null while none is due. The claim ends by its answer, or by itself. */
export function claimProbe(health: Health, now: number): Health | null {
  const { circuit, pause } = health;
  if (circuit.state !== 'open' || now < circuit.nextProbeAt || (pause && now < pause.until)) return null;
  return { ...health, circuit: { ...circuit, nextProbeAt: now + PROBE_CLAIM_MS } };
}

/**
 * The same, but for times that no rule can have set: the clock was far ahead and has been set back. They come no later than
 * the rules' own maximum from now.
 */
export function withinReach(health: Health, now: number): Health {
  const pausedTooLong = health.pause !== null && health.pause.until > now + RETRY_AFTER_MAX_MS + REACH_TOLERANCE_MS;
  const pause = pausedTooLong ? { since: now, until: now + RETRY_AFTER_MAX_MS } : health.pause;
  const { circuit } = health;
  const probeMax = Math.max(now + PROBE_INTERVAL_MAX_MS, pause?.until ?? 0);
  const probedTooLate = circuit.state === 'open' && circuit.nextProbeAt > probeMax + REACH_TOLERANCE_MS;
  if (!pausedTooLong && !probedTooLate) return health;
  return { ...health, pause, circuit: probedTooLate ? { ...circuit, nextProbeAt: probeMax } : circuit };
}

/** Its backlog is drained, or the ramp of the drain has ended. Nothing of it counts before an answer. */
export function recover(health: Health): { health: Health; raised: readonly Transition[] } {
  if (health.circuit.state !== 'half_open' || !health.circuit.answered) return { health, raised: [] };
  return {
    health: { ...health, circuit: { state: 'closed', failing: null } },
    raised: [{ kind: 'recovered', since: health.circuit.since }],
  };
}

export type Standing =
  | { kind: 'clear' }
  /** It may be sent to, within the ramp. */
  | { kind: 'recovering' }
  /** It asked for time. `live`: short enough to stay at the tail. */
  | { kind: 'paused'; until: number; live: boolean }
  /** Nothing but one probe. */
  | { kind: 'open'; nextProbeAt: number };

export function standing({ circuit, pause }: Health, now: number): Standing {
  if (circuit.state === 'open') return { kind: 'open', nextProbeAt: Math.max(circuit.nextProbeAt, pause?.until ?? 0) };
  if (pause && pause.until > now) return { kind: 'paused', until: pause.until, live: pause.until - now <= PAUSE_LIVE_MAX_MS };
  return circuit.state === 'half_open' ? { kind: 'recovering' } : { kind: 'clear' };
}

/**
 * Whether other nodes, and the next start, must know. Failures in a row are counted by each node for itself: only what
 * they lead to is shared, so that a receiver that fails now and then costs no writes.
 */
export function differs(before: Health, after: Health): boolean {
  return shared(before) !== shared(after);
}

function shared({ circuit, pause }: Health): string {
  const probing = circuit.state === 'open' ? [circuit.since, circuit.probes, circuit.nextProbeAt] : [];
  const answered = circuit.state === 'half_open' && circuit.answered;
  return [circuit.state, ...probing, answered, pause?.until].join();
}

/** A row that another node has written, with what only this node has counted. */
export function adopt(row: Health, own: Health): Health {
  const { circuit } = row;
  if (circuit.state === 'closed' && own.circuit.state === 'closed') return { ...row, circuit: own.circuit };
  if (circuit.state === 'half_open' && own.circuit.state === 'half_open') {
    return { ...row, circuit: { ...own.circuit, answered: own.circuit.answered || circuit.answered } };
  }
  return row;
}

/** What only this node has counted was about another receiver. */
export function forgetCount(health: Health): Health {
  const { circuit } = health;
  if (circuit.state === 'half_open') return { ...health, circuit: { ...circuit, failures: 0 } };
  return circuit.state === 'closed' ? { ...health, circuit: { state: 'closed', failing: null } } : health;
}
