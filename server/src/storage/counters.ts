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
  /** One at a time for each counter: whoever comes meanwhile has ids of the same block. */
  const growing = new Map<CounterName, Promise<void>>();

  /** Durable, although nobody sees it: a database that came back without it would give the same ids to another. */
  async function take(name: CounterName, size: number): Promise<number> {
    const row = await storage.transaction((tx) =>
      tx.first<{ value: number }>(sql`update counters set value = value + ${size} where name = ${name} returning value`),
    );
    if (!row) throw new Error(`counter ${name} is missing`);
    return row.value - size + 1;
  }

  async function grow(name: CounterName): Promise<void> {
    const first = await take(name, BLOCK[name]);
    blocks.set(name, { next: first, end: first + BLOCK[name] - 1 });
  }

  async function firstOf(name: CounterName, count: number): Promise<number> {
    if (count > BLOCK[name]) return take(name, count);
    for (;;) {
      const block = blocks.get(name);
      if (block && block.end - block.next + 1 >= count) {
        block.next += count;
        return block.next - count;
      }
      let growth = growing.get(name);
      if (!growth) {
        growth = grow(name).finally(() => growing.delete(name));
        growing.set(name, growth);
      }
      await growth;
    }
  }

  return {
    async reserve(name, count) {
      if (count === 0) return [];
      const first = await firstOf(name, count);
      return Array.from({ length: count }, (_, index) => first + index);
    },
  };
}
