/** An advance of a sandbox's test clock, with its deliveries where they are asked for: the two that do not know of each other meet here. */
import { MINUTE_MS } from './base/clock.ts';
import { countDeliveries, type DeliveryCounts } from './delivery/attempts/count.ts';
import type { Delivery } from './delivery/delivery.ts';
import { bringDeliveriesNearer, Restless } from './delivery/rest.ts';
import { tellDeadOf } from './endpoints/dead.ts';
import type { ClockMove, MovedClock } from './http/api/services.ts';
import type { RefreshServices } from './refresh/services.ts';
import { advanceClock } from './refresh/test-clock/test-clock.ts';
import type { Companion } from './refresh/test-clock/walk.ts';

type Running = { services: RefreshServices; delivery: Pick<Delivery, 'rest' | 'tick'> };

export async function moveClock(
  { services, delivery }: Running,
  applicationId: string,
  { target, deliveries }: ClockMove,
  signal: AbortSignal,
): Promise<MovedClock> {
  if (!deliveries) return advanceClock(services, applicationId, target, { signal });
  const since = services.clock.now();
  const before = await countDeliveries(services.storage, applicationId, since);
  const companion = createCompanion({ services, delivery }, applicationId);
  try {
    const outcome = await advanceClock(services, applicationId, target, { signal, companion });
    if (!outcome.ok) return outcome;
    // What a well receiver has taken was not waited for.
    await delivery.tick();
    return { ...outcome, deliveries: difference(before, await countDeliveries(services.storage, applicationId, since)) };
  } catch (error) {
    if (error instanceof Restless) return { ok: false, refusal: 'restless' };
    throw error;
  }
}

function createCompanion({ services, delivery }: Running, applicationId: string): Companion {
  const { storage, clock } = services;
  return {
    async rest(signal) {
      for (;;) {
        const next = await delivery.rest(applicationId, signal);
        // Deaths are told by the minute: this one passes before anything else is delivered.
        const passes = next === null || next - clock.now() >= MINUTE_MS;
        if (!passes || (await tellDeadOf(storage, applicationId, clock.now())) === 0) return next;
      }
    },
    bringNearer: (tx, span) => bringDeliveriesNearer(tx, applicationId, span),
  };
}

function difference(before: DeliveryCounts, after: DeliveryCounts): DeliveryCounts {
  return {
    attempts: after.attempts - before.attempts,
    delivered: after.delivered - before.delivered,
    waiting: after.waiting,
    dead: after.dead - before.dead,
  };
}
