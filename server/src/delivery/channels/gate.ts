/** What an endpoint may be given now: the one place where pauses, circuits, rates and concurrency are asked. */
import type { Clock } from '../../base/clock.ts';
import { CONCURRENCY_DEFAULT } from '../../endpoints/limits.ts';
import type { Channel } from './channels.ts';
import type { Fitness } from './circuits.ts';
import { type Health, standing } from './health.ts';
import { createPace, type PaceAnswer, type PaceSettings } from './pace.ts';

export type Gate = {
  /** False: nothing is started, and what is under way ends. Asked before each start. */
  maySend(): boolean;
  /** Whether its rate allows a request now; if not, `onMayStart` follows when it does. Asked before each start. */
  mayStart(): boolean;
  /** Requests under way at once, at least 1. Asked before each start. */
  concurrency(): number;
  /**
   * True: it follows no lane. Its queue is emptied, the log keeps its events, and its retries wait too. Where this turns
   * true or false by itself, the next heartbeat finds out; who turns it calls `refresh` of the delivery.
   */
  mustLag(): boolean;
  /** Its circuit is open, and a probe may be due. */
  isOpen(): boolean;
  /** It answers again after an outage, and is not yet known to be well. */
  isRecovering(): boolean;
  /** Its last answers were failures, and its circuit may be about to open. */
  isFailing(): boolean;
  /** A drain that began slowly has not come to its full pace. */
  isRamping(): boolean;
  /** It was given nothing for a time in which events were kept: the drain begins slowly. */
  beginRamp(): void;
  started(): void;
  finished(answer: PaceAnswer, latencyMs: number): void;
  /** The endpoint's settings or this node's lanes may have changed. */
  adjust(): void;
};

export function createGate(options: {
  channel: () => Channel;
  fitness: Fitness;
  clock: Clock;
  monotonicMs: () => number;
  /** Of this node. */
  lanesOwned: () => number;
  /** The rate allows a request again. */
  onMayStart: () => void;
}): Gate {
  const { channel, fitness, clock, monotonicMs } = options;
  const settings = (): PaceSettings => {
    const { concurrencyMax, ratePerS } = channel().endpoint;
    return { concurrencyMax: concurrencyMax ?? CONCURRENCY_DEFAULT, ratePerS, lanesOwned: options.lanesOwned() };
  };
  let applied: PaceSettings | null = null;
  let pace = createPace({ concurrencyMax: CONCURRENCY_DEFAULT, ratePerS: null, lanesOwned: 0 });
  let seen: Health | null = null;
  let timer: NodeJS.Timeout | null = null;

  /** After an outage the drain begins slowly, whoever has found out that it is over. */
  function follow() {
    const { health } = fitness;
    if (health === seen) return;
    const before = seen?.circuit.state ?? 'closed';
    const { state } = health.circuit;
    if (state === 'half_open' ? before !== 'half_open' : before === 'open' && state === 'closed') pace.beginRamp(monotonicMs());
    seen = health;
  }

  function standingNow() {
    follow();
    return standing(fitness.health, clock.now());
  }

  return {
    maySend() {
      if (!channel().enabled || !channel().begun) return false;
      const { circuit, pause } = fitness.health;
      if (circuit.state === 'closed' && pause === null) {
        follow();
        return true;
      }
      const { kind } = standingNow();
      return kind === 'clear' || kind === 'recovering';
    },
    mayStart() {
      const now = monotonicMs();
      if (pace.mayStart(0, now)) return true;
      const waitMs = pace.nextStartAt(now) - now;
      if (timer === null && Number.isFinite(waitMs)) {
        timer = setTimeout(
          () => {
            timer = null;
            options.onMayStart();
          },
          Math.max(1, waitMs),
        );
        timer.unref();
      }
      return false;
    },
    concurrency: () => pace.concurrency,
    mustLag() {
      if (!channel().enabled) return true;
      const at = standingNow();
      return at.kind === 'open' || (at.kind === 'paused' && !at.live);
    },
    isOpen: () => standingNow().kind === 'open',
    isRecovering: () => fitness.health.circuit.state === 'half_open',
    isFailing() {
      const { circuit } = fitness.health;
      return circuit.state === 'closed' ? circuit.failing !== null : circuit.state === 'open' || circuit.failures > 0;
    },
    isRamping() {
      follow();
      return pace.ramping;
    },
    beginRamp: () => pace.beginRamp(monotonicMs()),
    started: () => pace.started(monotonicMs()),
    finished: (answer, latencyMs) => pace.finished(answer, latencyMs, channel().queue.underWay, monotonicMs()),
    adjust() {
      const next = settings();
      if (applied === null) pace = createPace(next);
      else if (
        next.concurrencyMax !== applied.concurrencyMax ||
        next.ratePerS !== applied.ratePerS ||
        next.lanesOwned !== applied.lanesOwned
      ) {
        pace.configure(next, monotonicMs());
      }
      applied = next;
    },
  };
}
