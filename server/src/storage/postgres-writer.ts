/** What a transaction on PostgreSQL writes: statements in the order in which they are given, as few packets as can be. */
import type { Duplex } from 'node:stream';
import type pg from 'pg';
import { render, type Sql, type SqlValue } from './sql.ts';
import { TransactionEnded, type Writer } from './storage.ts';

/** Of an insertion: a message of a megabyte or two. */
const ROWS_PER_STATEMENT = 5_000;

/** Texts of one place in the code are prepared once per connection under a name of their own. */
const names = new Map<string, string>();
const NAMES_KEPT = 500;

function nameOf(text: string): string | undefined {
  const known = names.get(text);
  if (known || names.size >= NAMES_KEPT) return known;
  const name = `q${names.size}`;
  names.set(text, name);
  return name;
}

/** As the driver takes it. */
export function statement(query: Sql): pg.QueryConfig {
  const text = render(query, '$');
  const config: pg.QueryConfig = { text, values: query.values as SqlValue[] };
  const name = query.key ? nameOf(text) : undefined;
  return name ? { ...config, name } : config;
}

/**
 * Statements given in one turn leave in one packet: each would be a call of the operating system of its own, and those were
 * a fifth of the time of a refresh without changes. The driver shows its connection to those who ask, its types do not.
 */
export function send(client: pg.PoolClient, config: pg.QueryConfig): Promise<pg.QueryResult> {
  const { stream } = (client as unknown as { connection: { stream: Duplex } }).connection;
  if (stream.writableCorked === 0) {
    stream.cork();
    process.nextTick(() => stream.uncork());
  }
  return client.query(config);
}

type Insertion = { table: string; columns: readonly string[]; tail: string };

/**
 * What is sent as `last` is answered by the time of the commit; `failed` holds what failed, in the order of the answers. After `end` nothing is sent: where one of several that a transaction
 * does at once has failed, the others may go on, and would write for themselves, or into the client's next transaction.
 */
export function createWriter(
  client: pg.PoolClient,
  typesOf: TypesOf,
  counts: { statements: number },
  patience: { query_timeout?: number },
): { tx: Writer; last: readonly Promise<pg.QueryResult>[]; failed: readonly unknown[]; end(): void } {
  const last: Promise<pg.QueryResult>[] = [];
  const failed: unknown[] = [];
  let ended = false;
  /** An insertion that asks for its types, or sends its rows in pieces: what is given after it waits. */
  let busy: Promise<unknown> | null = null;
  const mustBeOpen = () => {
    if (ended) throw new TransactionEnded();
  };
  const sendCounted = (config: pg.QueryConfig) => {
    mustBeOpen();
    counts.statements += 1;
    const sent = send(client, { ...config, ...patience });
    sent.catch((error: unknown) => failed.push(error));
    return sent;
  };
  /** In the order in which it is given; at once, unless an insertion before it is busy. */
  const give = async (config: pg.QueryConfig) => {
    while (busy) await busy.catch(() => {});
    return sendCounted(config);
  };
  const sendRows = (types: Types, { table, columns, tail }: Insertion, rows: readonly (readonly SqlValue[])[]) => {
    const arrays = columns.map((column, index) => `unnest($${index + 1}::${types.get(column)}[])`);
    const text = `insert into ${table} (${columns.join(', ')}) select ${arrays.join(', ')} ${tail}`;
    const name = nameOf(text);
    const values = columns.map((_, index) => arrayOf(rows, index));
    return sendCounted({ text, values, ...(name ? { name } : {}) });
  };
  /**
   * One piece behind the other: the driver's patience with a statement begins when it is sent, and the last of forty would
   * spend it on waiting for the others.
   */
  const sendInPieces = async (insertion: Insertion, rows: readonly (readonly SqlValue[])[]) => {
    const { table, columns } = insertion;
    // Listened to before all that waits for it, so what is asked for goes first.
    const types = typesOf.known(table, columns) ?? (await typesOf.ask(client, table, columns));
    const sent: Promise<pg.QueryResult>[] = [];
    for (let start = 0; start < rows.length; start += ROWS_PER_STATEMENT) {
      if (start > 0) await sent.at(-1);
      sent.push(sendRows(types, insertion, rows.slice(start, start + ROWS_PER_STATEMENT)));
    }
    return sent;
  };
  /** Resolves when they are sent. An object, because a promise of promises would wait for these, too. */
  const insert = async (insertion: Insertion, rows: readonly (readonly SqlValue[])[]) => {
    if (rows.length === 0) return { sent: [] };
    while (busy) await busy.catch(() => {});
    mustBeOpen();
    const types = typesOf.known(insertion.table, insertion.columns);
    if (types && rows.length <= ROWS_PER_STATEMENT) return { sent: [sendRows(types, insertion, rows)] };
    const sending = sendInPieces(insertion, rows);
    busy = sending;
    try {
      return { sent: await sending };
    } finally {
      busy = null;
    }
  };
  const tx: Writer = {
    all: async <T>(query: Sql) => (await give(statement(query))).rows as T[],
    first: async <T>(query: Sql) => (await give(statement(query))).rows[0] as T | undefined,
    run: async (query) => (await give(statement(query))).rowCount ?? 0,
    insertMany: async (table, columns, rows, tail) => {
      const { sent } = await insert({ table, columns, tail: tail ?? '' }, rows);
      let changes = 0;
      for (const { rowCount } of await Promise.all(sent)) changes += rowCount ?? 0;
      return changes;
    },
    insertLast: async (table, columns, rows) => {
      const { sent } = await insert({ table, columns, tail: '' }, rows);
      // Work that fails after this one ends without asking how this one did.
      for (const one of sent) one.catch(() => {});
      last.push(...sent);
    },
  };
  return {
    tx,
    last,
    failed,
    end() {
      ended = true;
    },
  };
}

/**
 * One column of the rows as the text of an array. An insertion of arrays has one short text for any number of rows, so it
 * is prepared: as a list of 6,500 values, 500 attempts cost PostgreSQL 31 µs each and us 8 µs (50 of them 41 and 12); as
 * arrays 24 and 4 µs.
 */
function arrayOf(rows: readonly (readonly SqlValue[])[], column: number): string {
  let text = '{';
  for (const row of rows) {
    const value = row[column]!;
    if (text.length > 1) text += ',';
    if (typeof value === 'string') text += SPECIAL.test(value) ? `"${value.replace(EACH_SPECIAL, '\\$&')}"` : `"${value}"`;
    else text += value;
  }
  return `${text}}`;
}

/** Of what stands between the quotes of an array's element. */
const SPECIAL = /["\\]/;
const EACH_SPECIAL = /["\\]/g;

/** By column, as the catalogue writes them. */
type Types = ReadonlyMap<string, string>;
/** The types of a table's columns, which the schema alone knows. They are asked for once. */
export type TypesOf = {
  /** Undefined: ask. */
  known(table: string, columns: readonly string[]): Types | undefined;
  ask(client: pg.PoolClient, table: string, columns: readonly string[]): Promise<Types>;
};

export function createTypes(): TypesOf {
  const tables = new Map<string, Types>();
  return {
    known(table, columns) {
      const types = tables.get(table);
      return types && columns.every((column) => types.has(column)) ? types : undefined;
    },
    async ask(client, table, columns) {
      const { rows } = await client.query<{ column: string; type: string }>(
        `select attname as column, format_type(atttypid, atttypmod) as type from pg_attribute
         where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`,
        [table],
      );
      const types = new Map(rows.map(({ column, type }) => [column, type]));
      const absent = columns.filter((column) => !types.has(column));
      if (absent.length > 0) throw new Error(`no column ${absent.join(', ')} in ${table}`);
      tables.set(table, types);
      return types;
    },
  };
}
