/**
 * Segments cut the log by time, so that retention can take whole ones. A segment begins in every lane at once, under
 * the locks of all heads; `segments` holds where. Readers use that only to leave out what cannot hold the answer: a
 * map that is older than the log gives wider bounds, never wrong ones.
 */
import { sql } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';

/** `starts`: for each lane the seq before the segment's first event. Times are epoch milliseconds. */
export type Segment = {
  segment: number;
  starts: readonly number[];
  /** Every event in it was committed after. */
  openedAt: number;
  /** When the next one was opened; null for the one that is written. Every event in it was committed before. */
  closedAt: number | null;
  /** When its hours were frozen in `audited_hours`. */
  frozenAt: number | null;
};

/** Segments from `from` to `through`, both inclusive. */
export type Bounds = { from: number; through: number };

const NO_BOUND = Number.MAX_SAFE_INTEGER;

type SegmentRow = { segment: number; starts: string; opened_at: number; closed_at: number | null; frozen_at: number | null };

/** Oldest first; those that retention has taken are absent. */
export async function readSegments(reader: Reader): Promise<Segment[]> {
  const rows = await reader.all<SegmentRow>(sql`select segment, starts, opened_at, closed_at, frozen_at from segments order by segment`);
  return rows.map((row) => ({
    segment: row.segment,
    starts: JSON.parse(row.starts) as number[],
    openedAt: row.opened_at,
    closedAt: row.closed_at,
    frozenAt: row.frozen_at,
  }));
}

/** The oldest segment that retention is not taking away: attempts on older events have no place any more. */
export async function oldestWritable(reader: Reader): Promise<number> {
  const row = await reader.first<{ segment: number | null }>(sql`select min(segment) as segment from segments where frozen_at is null`);
  return row?.segment ?? 0;
}

/** One reading for each database handle, kept until a row of a newer segment is seen. */
const known = new WeakMap<Reader, Promise<Segment[]>>();

/**
 * The next `limit` rows of a lane after `afterSeq`. Seqs have no gaps, so they end at `afterSeq + limit`, and segments
 * beyond are left out; where retention has taken some of them, the rows are asked for again without that end.
 */
export async function readNext<T extends { segment: number }>(
  reader: Reader,
  { lane, afterSeq, limit }: { lane: number; afterSeq: number; limit: number },
  read: (bounds: Bounds) => Promise<T[]>,
): Promise<T[]> {
  const bounds = await segmentBounds(reader, lane, afterSeq, afterSeq + limit);
  let rows = await read(bounds);
  if (rows.length < limit && bounds.through !== NO_BOUND) rows = await read({ from: bounds.from, through: NO_BOUND });
  await noteSegment(reader, rows.at(-1)?.segment ?? 0);
  return rows;
}

/** Where events of a lane after `afterSeq`, and up to `throughSeq` if that is known, can be. */
export async function segmentBounds(reader: Reader, lane: number, afterSeq: number, throughSeq = NO_BOUND): Promise<Bounds> {
  let reading = known.get(reader);
  if (!reading) {
    reading = readSegments(reader);
    known.set(reader, reading);
    reading.catch(() => known.delete(reader));
  }
  return boundsIn(await reading, lane, afterSeq, throughSeq);
}

/** A newer segment than the map knows: the next reader reads the map anew. */
export async function noteSegment(reader: Reader, segment: number): Promise<void> {
  const segments = await known.get(reader);
  if (segments && segment > (segments.at(-1)?.segment ?? 0)) known.delete(reader);
}

/** Pure: `segments` oldest first. The newest known one has no upper bound, for there may be newer ones. */
export function boundsIn(segments: readonly Segment[], lane: number, afterSeq: number, throughSeq: number): Bounds {
  let from = 0;
  let through = NO_BOUND;
  for (const [index, { segment, starts }] of segments.entries()) {
    if (starts[lane]! <= afterSeq) from = segment;
    if (starts[lane]! < throughSeq) through = index === segments.length - 1 ? NO_BOUND : segment;
  }
  return { from, through };
}

/**
 * Opens the segment after `current`, as the only work of its transaction. False when another node was quicker. What
 * the segment needs (partitions) must be there before. The clock may be wrong: `openedAt` is not after the first event of the
 * new segment, and `closedAt` not before the last one of the old.
 */
export async function openNextSegment(
  tx: Writer,
  locks: Pick<Storage, 'forUpdate'>,
  current: number,
  { openedAt, closedAt }: { openedAt: number; closedAt: number },
): Promise<boolean> {
  const heads = await tx.all<{ segment: number; head: number }>(sql`select segment, head from lane_heads order by lane${locks.forUpdate}`);
  if (heads.some(({ segment }) => segment !== current)) return false;
  const starts = JSON.stringify(heads.map(({ head }) => head));
  await tx.run(sql`update segments set closed_at = ${closedAt} where segment = ${current}`);
  await tx.run(sql`insert into segments (segment, starts, opened_at) values (${current + 1}, ${starts}, ${openedAt})`);
  await tx.run(sql`update lane_heads set segment = ${current + 1}`);
  return true;
}
