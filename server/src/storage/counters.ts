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

  async function grow(name: CounterName, count: number): Promise<{ next: number; end: number }> {
    const size = Math.max(BLOCK[name], count);
    const row = await storage.transaction((tx) =>
      tx.first<{ value: number }>(sql`update counters set value = value + ${size} where name = ${name} returning value`),
    );
    if (!row) throw new Error(`counter ${name} is missing`);
    const block = { next: row.value - size + 1, end: row.value };
    blocks.set(name, block);
    return block;
  }

  return {
    async reserve(name, count) {
      let block = blocks.get(name) ?? { next: 1, end: 0 };
      if (block.end - block.next + 1 < count) block = await grow(name, count);
      const first = block.next;
      block.next += count;
      return Array.from({ length: count }, (_, index) => first + index);
    },
  };
}
