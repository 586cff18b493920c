/**
 * The events of a lane between its settled position and the last one read, each with the number of endpoints that it
 * still waits for. The settled position moves over events that wait for nobody, in order.
 */
export type Window = {
  readonly settled: number;
  /** Events above the settled position. */
  readonly size: number;
  /** The next event of the lane; `endpoints` may be 0. Seqs ascend; a gap (taken by retention) waits for nobody. */
  open(seq: number, endpoints: number): void;
  close(seq: number): void;
  /** Nobody waits for anything up to here, and the window is empty. */
  pass(seq: number): void;
};

/** Closed counts at the front are dropped in blocks of this many, so that each costs O(1). */
const COMPACT_AT = 1_024;

export function createWindow(start: number): Window {
  let counts: number[] = [];
  let first = 0;
  let settled = start;

  function advance() {
    while (first < counts.length && counts[first] === 0) {
      first += 1;
      settled += 1;
    }
    if (first === counts.length) {
      counts = [];
      first = 0;
    } else if (first >= COMPACT_AT) {
      counts = counts.slice(first);
      first = 0;
    }
  }

  return {
    get settled() {
      return settled;
    },
    get size() {
      return counts.length - first;
    },
    open(seq, endpoints) {
      for (let next = settled + (counts.length - first) + 1; next < seq; next += 1) counts.push(0);
      counts.push(endpoints);
      advance();
    },
    close(seq) {
      const index = first + seq - settled - 1;
      counts[index] = counts[index]! - 1;
      if (index === first) advance();
    },
    pass(seq) {
      settled = Math.max(settled, seq);
    },
  };
}
