/** Reads as its storage does, and asks the engine how it reads: for tests that fail on a full scan. */
import assert from 'node:assert/strict';
import { type Sql, sql } from '../../src/storage/sql.ts';
import type { Reader, Storage } from '../../src/storage/storage.ts';

export type Explained = Reader & {
  /**
   * Fails where a statement so far reads one of the tables, or an index of it, from one end to the other; but for indexes
   * that hold nothing else than what is asked of them.
   */
  assertNoFullScan(tables: readonly string[], wholeIndexes?: readonly string[]): void;
  readonly statements: number;
};

/** `index` is empty where the table itself is read. */
type Scan = { table: string; index: string };

export function explaining(storage: Storage): Explained {
  const plans: { text: string; scans: readonly Scan[] }[] = [];
  const note = async (query: Sql) => {
    plans.push(await (storage.engine === 'sqlite' ? planOfSqlite(storage, query) : planOfPostgres(storage, query)));
  };
  return {
    all: async <T extends object>(query: Sql) => {
      await note(query);
      return storage.all<T>(query);
    },
    first: async <T extends object>(query: Sql) => {
      await note(query);
      return storage.first<T>(query);
    },
    assertNoFullScan(tables, wholeIndexes = []) {
      // Partitions are named after their table.
      for (const { text, scans } of plans) {
        const wrong: Scan[] = scans.filter(
          ({ table, index }) => tables.some((name) => table.startsWith(name)) && !wholeIndexes.includes(index),
        );
        assert.deepEqual(wrong, [], text);
      }
    },
    get statements() {
      return plans.length;
    },
  };
}

async function planOfSqlite(storage: Storage, query: Sql) {
  const rows = await storage.all<{ detail: string }>(sql`explain query plan ${query}`);
  const scans = rows
    .map(({ detail }) => /^SCAN (\w+)/.exec(detail)?.[1])
    .filter((table) => table !== undefined)
    .map((table) => ({ table, index: '' }));
  return { text: rows.map(({ detail }) => detail).join('\n'), scans };
}

type Node = {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  'Recheck Cond'?: string;
  Plans?: Node[];
};

/** On the small tables of a test PostgreSQL would rather scan: only where no index serves it still does, with this setting. */
async function planOfPostgres(storage: Storage, query: Sql) {
  return storage.transaction(async (tx) => {
    await tx.run(sql`set local enable_seqscan = off`);
    const row = await tx.first<{ 'QUERY PLAN': [{ Plan: Node }] }>(sql`explain (format json) ${query}`);
    const plan = row!['QUERY PLAN'][0].Plan;
    const scans: Scan[] = [];
    const walk = (node: Node) => {
      const whole = node['Index Cond'] === undefined && node['Recheck Cond'] === undefined;
      if (node['Relation Name'] !== undefined && whole) scans.push({ table: node['Relation Name'], index: node['Index Name'] ?? '' });
      for (const part of node.Plans ?? []) walk(part);
    };
    walk(plan);
    return { text: JSON.stringify(plan, null, 1), scans };
  });
}
