import { sql } from './sql.ts';
import type { Storage } from './storage.ts';

/** Ids reserved at once per counter: a gap of at most this many after a restart, one short transaction per block. */
const BLOCK = { items: 20, accounts: 100, transactions: 2_000 } as const;
export type CounterName = keyof typeof BLOCK;

/**
 * Integer ids of the wire, from blocks reserved ahead in a transaction of their own, so that concurrent writers
 * never wait for one another's commit. Ids of one process ascend.
 */
export type Counters = { reserve(name: CounterName, count: number): Promise<number[]> };

export function createCounters(storage: Storage): Counters {
  const blocks = new Map<CounterName, { next: number; end: number }>();

  /** Takes the caller's ids out of the new block before another caller can see it. */
  async function grow(name: CounterName, count: number): Promise<number> {
    const size = Math.max(BLOCK[name], count);
    const row = await storage.transaction((tx) =>
      tx.first<{ value: number }>(sql`update counters set value = value + ${size} where name = ${name} returning value`),
    );
    if (!row) throw new Error(`counter ${name} is missing`);
    const first = row.value - size + 1;
    if (count < size) blocks.set(name, { next: first + count, end: row.value });
    return first;
  }

  return {
    async reserve(name, count) {
      if (count === 0) return [];
      const block = blocks.get(name);
      const enough = block !== undefined && block.end - block.next + 1 >= count;
      const first = enough ? block.next : await grow(name, count);
      if (enough) block.next += count;
      return Array.from({ length: count }, (_, index) => first + index);
    },
  };
}
