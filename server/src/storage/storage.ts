/** The one seam to a database. Only this folder names an engine. */
import type { Sql, SqlValue } from './sql.ts';

export type Row = Record<string, SqlValue>;

/** Reads, and has no way to write. Types of rows are those of the schema: `bigint` arrives as a number below 2^53. */
export interface Reader {
  all<T extends object = Row>(query: Sql): Promise<T[]>;
  first<T extends object = Row>(query: Sql): Promise<T | undefined>;
}

/** Rows as arrays, in the order of the statement's columns. Where there are hundreds, to make objects of them is a third of the work. */
export interface TupleReader {
  tuples<T extends readonly unknown[]>(query: Sql): Promise<T[]>;
}

/** Exists only inside {@link Storage.transaction}. */
export interface Writer extends Reader {
  /** Rows changed. */
  run(query: Sql): Promise<number>;
  /**
   * Inserts many rows with one text: `insert into t (a, b)` + values + an optional `on conflict …` tail.
   * SQLite repeats one prepared statement (no parsing, no limit of variables); PostgreSQL is given an array for each column.
   */
  insertMany(table: string, columns: readonly string[], rows: readonly (readonly SqlValue[])[], tail?: string): Promise<number>;
  /**
   * The same for the transaction's last rows: the commit follows without waiting for them, one round trip earlier, and fails
   * where they do.
   */
  insertLast(table: string, columns: readonly string[], rows: readonly (readonly SqlValue[])[]): Promise<void>;
}

export type TransactionOptions = { durable?: boolean; patient?: boolean };

export interface Storage extends Reader, TupleReader {
  /** To be shown. What an engine can is asked by name: {@link Storage.shared}, {@link Storage.maintain}, {@link Storage.parallelReads}. */
  readonly engine: 'sqlite' | 'postgres';
  /** Reads run beside one another, each a round trip. Where false each holds the main thread, one after the other. */
  readonly parallelReads: boolean;
  /**
   * Runs `work` in one transaction and answers after the commit. It must not wait for the network or a timer.
   * On PostgreSQL a deadlock or a serialisation failure runs `work` again (at most 3 times), so it must keep its state inside.
   * With `durable: false` the commit need not wait for the disk: a machine that loses its power may lose it, together with
   * everything after it up to the next durable one, never anything before. With `patient: true` a statement may take as long as it
   * takes: for changes of the schema, which may build an index of millions of rows, or wait for a node that does.
   */
  transaction<T>(work: (tx: Writer) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** One statement that is a transaction of its own: PostgreSQL needs no `begin` and `commit` around it, which are two more. */
  readonly alone: Pick<Writer, 'first' | 'run'>;
  /** Of this process. `statements` has been given to the database, without those that only begin or end a transaction. */
  readonly counts: { readonly statements: number };
  /** Row locks for what is claimed: ` for update skip locked` where the engine has it, nothing where one writer exists anyway. */
  readonly forUpdateSkipLocked: Sql;
  readonly forUpdate: Sql;
  /** What lets several nodes share the database; absent where only one node can exist (SQLite, behind its lock file). */
  readonly shared?: Shared;
  /**
   * Only where tables are partitioned (PostgreSQL): for changes of partitions, which must not run inside a transaction. Statements run one by one on one
   * connection and fail (code 55P03) when they would wait for a lock longer than {@link MAINTENANCE_LOCK_TIMEOUT_MS}.
   * One node at a time: answers `busy` when another is at it.
   */
  maintain?<T>(work: (run: (query: Sql) => Promise<void>) => Promise<T>): Promise<T | 'busy'>;
  /** A consistent copy in one file; SQLite only. */
  backup?(file: string): Promise<void>;
  close(): Promise<void>;
}

export type PresenceOptions = {
  /** Of this process, unique among those that use the database. */
  name: string;
  /** Where hints are sent and heard. */
  channel: string;
  onHint: (payload: string) => void;
  /** The session has ended, and with it the lock: others may take this process for dead at any moment. */
  onLost: () => void;
};

/** A session that others can see, and whose end they see at once. */
export interface Presence {
  readonly held: boolean;
  /** Connects where there is no connection; false while another session holds the name. */
  hold(): Promise<boolean>;
  close(): Promise<void>;
}

export interface Shared {
  presence(options: PresenceOptions): Presence;
  /** Whether no session holds `name`; if so nobody gets it before the end of this transaction. */
  isAbsent(tx: Writer, name: string): Promise<boolean>;
  /** To every presence of the channel, this process's own too. A hint: it may be lost. Payloads are below 8,000 bytes. */
  hint(channel: string, payload: string): Promise<void>;
  /** The clock of the database's machine, in epoch milliseconds. */
  now(): Promise<number>;
}

/** Whoever waits for a lock on a table makes all that come later wait behind it: maintenance gives up sooner than is felt. */
export const MAINTENANCE_LOCK_TIMEOUT_MS = 50;

/** Code inside a transaction waited for something other than the database. */
export class TransactionWaited extends Error {
  constructor() {
    super('a transaction waited for the network or a timer; do that before or after it');
    this.name = 'TransactionWaited';
  }
}

/** A statement came when its transaction had ended: beside the one that failed, or without being waited for. It was not sent. */
export class TransactionEnded extends Error {
  constructor() {
    super('a statement was given after its transaction had ended');
    this.name = 'TransactionEnded';
  }
}

/** A row with this key is there already. SQLITE_CONSTRAINT_PRIMARYKEY is 1555 and _UNIQUE 2067; PostgreSQL's unique_violation is 23505. */
export function isDuplicate(error: unknown): boolean {
  const { errcode, code } = (error ?? {}) as { errcode?: unknown; code?: unknown };
  return errcode === 1555 || errcode === 2067 || code === '23505';
}

/** SQLITE_FULL is 13; PostgreSQL's disk_full is 53100. */
export function isDiskFull(error: unknown): boolean {
  const { errcode, code } = (error ?? {}) as { errcode?: unknown; code?: unknown };
  return errcode === 13 || code === '53100';
}
