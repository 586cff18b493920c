/** When a bank is left in peace: it fails for many of its users at once, so that asking for each of them helps nobody. Pure. */
import { MINUTE_MS } from '../../base/clock.ts';
import { BACK_OFF_MS } from './back-off.ts';
import { draw } from './draw.ts';

export const WINDOW_MS = 30 * MINUTE_MS;
/** Fewer items say more about themselves than about their bank. */
export const ITEMS_MIN = 5;
export const FAILING_SHARE = 0.5;
/** An open circuit asks through one item, after 15 min, 1 h, then every 4 h. */
const PROBE_AFTER_MS = BACK_OFF_MS.slice(0, 3);
/** A probe that has not come back by then is made by another item. */
export const PROBE_LIMIT_MS = 15 * MINUTE_MS;
/** Its items come back over this time, not all at once. */
const RETURN_OVER_MS = 15 * MINUTE_MS;

/** How the latest refresh of one item ended: whether the bank itself had failed. */
export type BankOutcome = { at: number; failed: boolean };

/** An open circuit. Times are of the domain's clock: that of production, or of one sandbox application. */
export type Circuit = { openedAt: number; probeAt: number; probes: number; probeItemId: number | null };

export function opens(latest: Iterable<BankOutcome>, now: number): boolean {
  let items = 0;
  let failing = 0;
  for (const { at, failed } of latest) {
    if (at <= now - WINDOW_MS) continue;
    items += 1;
    if (failed) failing += 1;
  }
  return items >= ITEMS_MIN && failing > items * FAILING_SHARE;
}

export function opened(now: number): Circuit {
  return { openedAt: now, probeAt: now + PROBE_AFTER_MS[0]!, probes: 0, probeItemId: null };
}

export function probeFailed(circuit: Circuit, now: number): Circuit {
  const probes = circuit.probes + 1;
  return { ...circuit, probes, probeAt: now + PROBE_AFTER_MS[Math.min(probes, PROBE_AFTER_MS.length - 1)]!, probeItemId: null };
}

/** When an item looks again whether its bank is back: after the next probe, each at a moment of its own. */
export function lookAgainAt(circuit: Circuit, itemId: number, now: number): number {
  return Math.max(circuit.probeAt, now) + 1 + Math.floor(draw('return', itemId) * RETURN_OVER_MS);
}

/** Statuses that say something of the bank. Wrong credentials, or a user who must act, mean that it works. */
export function isBankFailure(status: number): boolean {
  return status === 1003 || status === 1007;
}
