/** Reads as its storage does, and asks the engine how it reads: for tests that fail on a full scan. */
import assert from 'node:assert/strict';
import { render, type Sql, sql } from '../../src/storage/sql.ts';
import type { Reader, Storage } from '../../src/storage/storage.ts';

export type Explained = Reader & {
  /**
   * Fails where a statement so far reads one of the tables, or an index of it, from one end to the other; but for indexes
   * that hold nothing else than what is asked of them.
   */
  assertNoFullScan(tables: readonly string[], wholeIndexes?: readonly string[]): void;
  readonly statements: number;
};

export type Measured = Reader & {
  /**
   * Fails where a statement so far reads one of the tables from one end to the other, or more than `rowsMax` rows of all tables,
   * or sorts more than that. SQLite says only how it reads: there each must be found by the leading columns of an index, and
   * nothing may be sorted.
   */
  assertBounded(tables: readonly string[], rowsMax: number): void;
  readonly statements: number;
};

/** `index` is empty where the table itself is read. */
type Scan = { table: string; index: string };
type Plan = { text: string; scans: readonly Scan[] };
/** `rows` were read and `sorted` were sorted; both are null where the engine does not count. */
type Cost = { rows: number | null; sorted: number | null; sorts: boolean; skips: boolean };

/** On tables of any size: whether an index serves the statement at all. */
export function explaining(storage: Storage): Explained {
  const plans: Plan[] = [];
  return {
    ...noting(storage, async (query) => {
      plans.push(await (storage.engine === 'sqlite' ? planOfSqlite(storage, query) : planOfPostgres(storage, query)));
    }),
    assertNoFullScan: (tables, wholeIndexes = []) => {
      for (const plan of plans) assertNoScan(plan, tables, wholeIndexes);
    },
    get statements() {
      return plans.length;
    },
  };
}

/** On tables that are filled and analysed: what the planner chooses by itself, and what it reads. The same question is asked once. */
export function measuring(storage: Storage): Measured {
  const plans = new Map<string, Plan & Cost>();
  return {
    ...noting(storage, async (query) => {
      const name = `${render(query, '?')} ${JSON.stringify(query.values)}`;
      if (!plans.has(name))
        plans.set(name, await (storage.engine === 'sqlite' ? measuredBySqlite(storage, query) : measuredByPostgres(storage, query)));
    }),
    assertBounded(tables, rowsMax) {
      for (const [name, plan] of plans) {
        assertNoScan(plan, tables, []);
        const said = `${name}\n${plan.text}`;
        assert.equal(plan.skips, false, `passes over the leading columns of an index: ${said}`);
        if (plan.rows === null) assert.equal(plan.sorts, false, `sorts: ${said}`);
        else assert.ok(plan.rows <= rowsMax, `reads ${plan.rows} rows: ${said}`);
        assert.ok((plan.sorted ?? 0) <= rowsMax, `sorts ${plan.sorted} rows: ${said}`);
      }
    },
    get statements() {
      return plans.size;
    },
  };
}

function noting(storage: Storage, note: (query: Sql) => Promise<void>): Reader {
  return {
    all: async <T extends object>(query: Sql) => {
      await note(query);
      return storage.all<T>(query);
    },
    first: async <T extends object>(query: Sql) => {
      await note(query);
      return storage.first<T>(query);
    },
  };
}

/** Partitions are named after their table. */
function assertNoScan({ text, scans }: Plan, tables: readonly string[], wholeIndexes: readonly string[]): void {
  const wrong = scans.filter(({ table, index }) => tables.some((name) => table.startsWith(name)) && !wholeIndexes.includes(index));
  assert.deepEqual(wrong, [], text);
}

/** Its plans name a table as the statement does. */
async function planOfSqlite(storage: Storage, query: Sql): Promise<Plan> {
  const rows = await storage.all<{ detail: string }>(sql`explain query plan ${query}`);
  const named = render(query, '?').matchAll(/\b(?:from|join)\s+(\w+)(?:\s+(?:as\s+)?(?!where|join|order|group|limit|union|on\b)(\w+))?/g);
  const tables = new Map([...named].flatMap(([, table, alias]) => [[table!, table!] as const, [alias ?? table!, table!] as const]));
  const scans = rows
    .map(({ detail }) => /^SCAN (\w+)/.exec(detail)?.[1])
    .filter((name) => name !== undefined)
    .map((name) => ({ table: tables.get(name) ?? name, index: '' }));
  return { text: rows.map(({ detail }) => detail).join('\n'), scans };
}

async function measuredBySqlite(storage: Storage, query: Sql): Promise<Plan & Cost> {
  const plan = await planOfSqlite(storage, query);
  return { ...plan, rows: null, sorted: null, sorts: plan.text.includes('USE TEMP B-TREE'), skips: plan.text.includes('ANY(') };
}

type Node = {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  'Recheck Cond'?: string;
  'Actual Rows'?: number;
  'Actual Loops'?: number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  Plans?: Node[];
};

/** On the small tables of a test PostgreSQL would rather scan: only where no index serves it still does, with this setting. */
async function planOfPostgres(storage: Storage, query: Sql): Promise<Plan> {
  return storage.transaction(async (tx) => {
    await tx.run(sql`set local enable_seqscan = off`);
    const row = await tx.first<{ 'QUERY PLAN': [{ Plan: Node }] }>(sql`explain (format json) ${query}`);
    return planIn(row!['QUERY PLAN'][0].Plan);
  });
}

async function measuredByPostgres(storage: Storage, query: Sql): Promise<Plan & Cost> {
  const row = await storage.first<{ 'QUERY PLAN': [{ Plan: Node }] }>(sql`explain (analyze, timing off, format json) ${query}`);
  const { Plan: root } = row!['QUERY PLAN'][0];
  const nodes = nodesOf(root);
  const loops = (node: Node) => node['Actual Loops'] ?? 0;
  const read = (node: Node) =>
    ((node['Actual Rows'] ?? 0) + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)) * loops(node);
  const sum = (some: readonly Node[], count: (node: Node) => number) => Math.round(some.reduce((total, node) => total + count(node), 0));
  const sorts = nodes.filter((node) => node['Node Type'].includes('Sort'));
  return {
    ...planIn(root),
    rows: sum(
      nodes.filter((node) => node['Relation Name'] !== undefined),
      read,
    ),
    sorted: sum(sorts, (node) => sum(node.Plans ?? [], (input) => (input['Actual Rows'] ?? 0) * loops(input))),
    sorts: sorts.length > 0,
    skips: false,
  };
}

function nodesOf(root: Node): Node[] {
  return [root, ...(root.Plans ?? []).flatMap(nodesOf)];
}

function planIn(root: Node): Plan {
  const scans = nodesOf(root)
    .filter((node) => node['Relation Name'] !== undefined && node['Index Cond'] === undefined && node['Recheck Cond'] === undefined)
    // What was never begun reads nothing: an empty partition, one that the statement's other half left out.
    .filter((node) => node['Actual Loops'] !== 0)
    .map((node) => ({ table: node['Relation Name']!, index: node['Index Name'] ?? '' }));
  return { text: JSON.stringify(root, null, 1), scans };
}
