/** The moments of an item's unattended refreshes: one stable minute in each band, a little shaken from day to day. Pure. */
import { DAY_MS, MINUTE_MS } from '../../base/clock.ts';
import type { Band } from '../../connectors/access.ts';
import { draw } from './draw.ts';
import type { Rules } from './rules.ts';

/** Either way: so that banks see no clockwork, and little enough that a slot stays where people expect it. */
export const JITTER_MS = 5 * MINUTE_MS;

/** How far into each of its bands an item's slot lies, 0 to 1: one place for all bands, so that bands of one width are refreshed at even gaps. */
export function placeInBand(itemId: number): number {
  return draw('slot', itemId);
}

/** The slots of one day (its start in epoch ms, UTC), in order, each inside its band. */
export function slotsOfDay(itemId: number, rules: Pick<Rules, 'bands' | 'maxUnattendedPerDay'>, dayStart: number): number[] {
  return bandsOf(itemId, rules).map((band) => slotIn(band, itemId, dayStart));
}

/** Where there are fewer refreshes than bands, items take their turns in different ones. */
function bandsOf(itemId: number, { bands, maxUnattendedPerDay }: Pick<Rules, 'bands' | 'maxUnattendedPerDay'>): readonly Band[] {
  if (maxUnattendedPerDay >= bands.length) return bands;
  const first = Math.floor(draw('band', itemId) * bands.length);
  const taken = Array.from(
    { length: maxUnattendedPerDay },
    (_, turn) => (first + Math.floor((turn * bands.length) / maxUnattendedPerDay)) % bands.length,
  );
  return bands.filter((_, index) => taken.includes(index));
}

function slotIn({ fromMinute, toMinute }: Band, itemId: number, dayStart: number): number {
  const from = dayStart + fromMinute * MINUTE_MS;
  const widthMs = (toMinute - fromMinute) * MINUTE_MS;
  const jitterMs = Math.min(JITTER_MS, widthMs / 4);
  const shaken = placeInBand(itemId) * widthMs + (draw('jitter', itemId, from) * 2 - 1) * jitterMs;
  // Thrown back at the edges: no slot leaves its band, and none of its minutes has more slots than another.
  const inside = shaken < 0 ? -shaken : shaken >= widthMs ? 2 * widthMs - shaken : shaken;
  return from + Math.min(Math.floor(inside), widthMs - 1);
}

/** The first slot at or after a moment; null where the rules allow none at all. */
export function nextSlot(itemId: number, rules: Pick<Rules, 'bands' | 'maxUnattendedPerDay'>, notBefore: number): number | null {
  if (rules.maxUnattendedPerDay < 1) return null;
  const today = Math.floor(notBefore / DAY_MS) * DAY_MS;
  for (const dayStart of [today, today + DAY_MS]) {
    const slot = slotsOfDay(itemId, rules, dayStart).find((moment) => moment >= notBefore);
    if (slot !== undefined) return slot;
  }
  throw new Error('a day has a slot');
}

/** How many slots of these items fall into each of `parts` equal parts of a day: how evenly a day's work is spread. */
export function spreadOverDay(
  itemIds: Iterable<number>,
  rules: Pick<Rules, 'bands' | 'maxUnattendedPerDay'>,
  dayStart: number,
  parts: number,
): number[] {
  const counts = Array<number>(parts).fill(0);
  for (const itemId of itemIds) {
    for (const slot of slotsOfDay(itemId, rules, dayStart)) counts[Math.floor(((slot - dayStart) / DAY_MS) * parts)]! += 1;
  }
  return counts;
}
