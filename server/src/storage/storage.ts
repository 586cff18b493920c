/** The one seam to a database. Only this folder names an engine. */
import type { Sql, SqlValue } from './sql.ts';

export type Row = Record<string, SqlValue>;

/** Reads, and has no way to write. Types of rows are those of the schema: `bigint` arrives as a number below 2^53. */
export interface Reader {
  all<T extends object = Row>(query: Sql): Promise<T[]>;
  first<T extends object = Row>(query: Sql): Promise<T | undefined>;
}

/** Exists only inside {@link Storage.transaction}. */
export interface Writer extends Reader {
  /** Rows changed. */
  run(query: Sql): Promise<number>;
  /**
   * Inserts many rows with one text: `insert into t (a, b)` + values + an optional `on conflict …` tail.
   * SQLite repeats one prepared statement (no parsing, no limit of variables); PostgreSQL sends lists of values.
   */
  insertMany(table: string, columns: readonly string[], rows: readonly (readonly SqlValue[])[], tail?: string): Promise<number>;
}

export interface Storage extends Reader {
  readonly engine: 'sqlite' | 'postgres';
  /**
   * Runs `work` in one transaction and answers after the commit. It must not wait for the network or a timer.
   * On PostgreSQL a deadlock or a serialisation failure runs `work` again (at most 3 times), so it must keep its state inside.
   */
  transaction<T>(work: (tx: Writer) => Promise<T>): Promise<T>;
  /** Row locks for what is claimed: ` for update skip locked` where the engine has it, nothing where one writer exists anyway. */
  readonly forUpdateSkipLocked: Sql;
  readonly forUpdate: Sql;
  /** A consistent copy in one file; SQLite only. */
  backup?(file: string): Promise<void>;
  close(): Promise<void>;
}

/** Code inside a transaction waited for something other than the database. */
export class TransactionWaited extends Error {
  constructor() {
    super('a transaction waited for the network or a timer; do that before or after it');
    this.name = 'TransactionWaited';
  }
}
