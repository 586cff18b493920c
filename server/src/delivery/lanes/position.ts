/** Where an endpoint stands in a lane: all up to a seq, and ranges above it. Pure. */

/** Seqs, both ends included. */
export type Range = readonly [first: number, last: number];
export type Position = { settled: number; ahead: readonly Range[] };

/** Of a row: 24 KB of text at most. What is cut off was settled, and is sent again if the node crashes now. */
export const AHEAD_RANGES_MAX = 1_000;

/** Ascending, without overlaps, neighbours joined. */
export function merge(ranges: readonly Range[]): Range[] {
  const merged: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = merged.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

/** `ranges` are merged; so is the answer. */
export function subtract(ranges: readonly Range[], taken: readonly Range[]): Range[] {
  const left: Range[] = [];
  let index = 0;
  for (const [first, last] of ranges) {
    let from = first;
    while (index < taken.length && taken[index]![1] < from) index += 1;
    let at = index;
    for (; at < taken.length && taken[at]![0] <= last; at += 1) {
      const [start, end] = taken[at]!;
      if (start > from) left.push([from, start - 1]);
      from = end + 1;
    }
    if (from <= last) left.push([from, last]);
  }
  return left;
}

/** Whether one of the merged ranges has the seq. */
export function holds(ranges: readonly Range[], seq: number): boolean {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const [first, last] = ranges[middle]!;
    if (seq < first) high = middle - 1;
    else if (seq > last) low = middle + 1;
    else return true;
  }
  return false;
}

/** Each seq as a range of its own, joined where they touch. */
export function rangesOf(seqs: Iterable<number>): Range[] {
  return merge([...seqs].map((seq): Range => [seq, seq]));
}

export function isSame(a: Position, b: Position): boolean {
  return (
    a.settled === b.settled &&
    a.ahead.length === b.ahead.length &&
    a.ahead.every(([first, last], index) => first === b.ahead[index]![0] && last === b.ahead[index]![1])
  );
}

export type Progress = {
  /** All up to here is settled or owed. */
  read: number;
  /** Read and not settled: queued or under way. */
  owed: ReadonlySet<number>;
  /** Settled above `read`: merged ranges. May also hold seqs that are owed. */
  skip: readonly Range[];
  /** The newest seq that may have been settled; ranges above it would only tell of events that are not wanted. */
  closed: number;
};

/** What is written of it. `settled` never goes back: what is settled stays so. */
export function positionOf({ read, owed, skip, closed }: Progress): Position {
  const [below, ...above] = subtract(merge([[0, read], ...skip]), rangesOf(owed));
  return { settled: below![1], ahead: above.filter(([first]) => first <= closed).slice(0, AHEAD_RANGES_MAX) };
}

/** After these owed seqs were let go of, to be read once more. `owed` still has them. */
export function rewind({ read, owed, skip, closed }: Progress, dropped: readonly number[]): Progress {
  if (dropped.length === 0) return { read, owed, skip, closed };
  const back = Math.min(...dropped) - 1;
  const gone = new Set(dropped);
  const kept = read > back ? subtract([[back + 1, read]], rangesOf(dropped)).filter(([first]) => first <= closed) : [];
  return { read: back, owed: new Set([...owed].filter((seq) => !gone.has(seq))), skip: merge([...kept, ...skip]), closed };
}
