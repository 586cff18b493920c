/** Where in each lane the events of some hours are, so that an audit of one hour does not read the day before it. */
import { HOUR_MS } from '../../base/clock.ts';
import { segmentBounds } from '../../events/segments.ts';
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';

/** By lane: the seq before the first event, and the last. */
export type Stretch = { starts: readonly number[]; ends: readonly number[] };

/** A lane's commits are in the order of their time, but for a clock that was set back: by less than this nothing is left out. */
const SET_BACK_MAX_MS = HOUR_MS;
/** A shorter way is read faster than it is halved. */
export const HALVED_MIN = 400;

/** Holds every event of the lane in `stretch` that was committed from `from` to `until` (exclusive; epoch milliseconds). */
export async function narrowed(reader: Reader, stretch: Stretch, lane: number, { from, until }: { from: number; until: number }) {
  const start = stretch.starts[lane] ?? 0;
  const end = stretch.ends[lane] ?? 0;
  const after = from <= 0 ? start : await lastBefore(reader, { lane, start, end }, from - SET_BACK_MAX_MS);
  if (until === Number.POSITIVE_INFINITY) return { after, through: end };
  const last = await lastBefore(reader, { lane, start: after, end }, until + SET_BACK_MAX_MS);
  return { after, through: Math.min(end, last + HALVED_MIN) };
}

/** The seq of an event before `time`, at most {@link HALVED_MIN} before the last of them; `start` where there is none. */
async function lastBefore(reader: Reader, { lane, start, end }: { lane: number; start: number; end: number }, time: number) {
  let [low, high] = [start, end];
  while (high - low > HALVED_MIN) {
    const middle = Math.floor((low + high) / 2);
    const { from, through } = await segmentBounds(reader, lane, middle - 1, middle);
    const event = await reader.first<{ committed_at: number }>(
      sql`select committed_at from events where segment between ${from} and ${through} and lane = ${lane} and seq = ${middle}`,
    );
    // Retention takes the oldest.
    if (!event || event.committed_at < time) low = middle;
    else high = middle;
  }
  return low;
}
