/** When the log goes on in a new segment. */
import { DAY_MS } from '../base/clock.ts';
import { openNextSegment, readSegments, type Segment } from '../events/segments.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { makePartitions } from './partitions.ts';
import type { Moment } from './steadiness.ts';

/** What retention takes at once, so the log is kept at most this much longer than promised. */
export const SEGMENT_AGE_MAX_MS = DAY_MS;
/** About 4 GB on either engine: a table that is still dropped, vacuumed and backed up with ease. */
export const SEGMENT_EVENTS_MAX = 10_000_000;
/** Made a day before it is needed. Not more: each one that is empty is looked into by every reading of a lane's end. */
const PARTITIONS_AHEAD = 1;

/** Pure. An empty segment is never closed, it only becomes younger: a server without events makes no segments. */
export function segmentMove({ openedAt }: Segment, events: number, now: number): 'stay' | 'begin again' | 'open next' {
  if (events >= SEGMENT_EVENTS_MAX) return 'open next';
  if (now - openedAt < SEGMENT_AGE_MAX_MS) return 'stay';
  return events === 0 ? 'begin again' : 'open next';
}

/**
 * Answers the number of the segment that was opened, or null. It counts as opened when its first event cannot have been
 * committed, and the one before it as closed when its last one must have been: who looks for a time misses none.
 */
export async function keepSegments(storage: Storage, { now, believed }: Moment): Promise<number | null> {
  const current = (await readSegments(storage)).at(-1);
  if (!current) throw new Error('the log has no segment: run the migrations');
  const heads = await storage.first<{ total: number }>(sql`select cast(sum(head) as bigint) as total from lane_heads`);
  const events = (heads?.total ?? 0) - current.starts.reduce((sum, start) => sum + start, 0);
  const ready = await makePartitions(storage, current.segment, current.segment + PARTITIONS_AHEAD);
  const move = segmentMove(current, events, believed);
  switch (move) {
    case 'stay':
      return null;
    case 'begin again':
      await storage.transaction((tx) => tx.run(sql`update segments set opened_at = ${believed} where segment = ${current.segment}`));
      return null;
    case 'open next': {
      if (!ready) return null;
      const opened = await storage.transaction((tx) =>
        openNextSegment(tx, storage, current.segment, { openedAt: believed, closedAt: now }),
      );
      return opened ? current.segment + 1 : null;
    }
    default:
      return move satisfies never;
  }
}
