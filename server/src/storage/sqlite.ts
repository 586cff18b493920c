import { backup, DatabaseSync } from 'node:sqlite';
import { createCheckpointer, FORCED_CHECKPOINT_PAGES } from './checkpointer.ts';
import { createLogSync, type LogSync } from './log-sync.ts';
import { render, type Sql, type SqlValue, sql } from './sql.ts';
import { type Row, type Storage, TransactionEnded, type TransactionOptions, TransactionWaited, type Writer } from './storage.ts';

/** How long a writer of another process (the command line) may hold the file before we give up. */
const BUSY_TIMEOUT_MS = 5_000;
/** Transactions that share one commit, and so one wait for the disk. More would only make the first wait longer. */
const GROUP_SIZE = 64;
/** Distinct texts kept prepared per connection. */
const STATEMENTS_KEPT = 500;

/** After this long of transactions without a pause the event loop has its turn: requests and deliveries wait for it. */
const TURN_MS = 10;

type Queued = {
  work: (tx: Writer) => Promise<unknown>;
  durable: boolean;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
};

/**
 * Opens the embedded database. Reads go through a second, read-only connection, so that they see committed data only; and they
 * answer no earlier than it is durable, so that nobody acts on what a loss of power would take back.
 */
export function openSqlite(file: string, log: LogSync = createLogSync(`${file}-wal`)): Storage {
  const writing = connect(file, false);
  // In WAL, NORMAL leaves out the wait at a commit and nothing else: what was written stays in its order.
  writing.exec(`pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = ${FORCED_CHECKPOINT_PAGES};`);
  const checkpointer = createCheckpointer(file, {
    checkpointHere: () => writing.exec('pragma wal_checkpoint(passive)'),
    monotonicMs: () => performance.now(),
  });
  const reading = connect(file, true);
  const counts = { statements: 0 };
  const write = statements(writing, counts);
  const read = statements(reading, counts);
  const queue: Queued[] = [];
  let draining = false;
  let closing = false;
  let turnedAt = performance.now();

  /** A handle for one transaction: code that outlives its transaction must not write into the next. */
  function handle(): { tx: Writer; end(): void } {
    let open = true;
    const statement = (text: string) => {
      // A full disk ends the transaction in the midst of its work.
      if (!open || !writing.isTransaction) throw new TransactionEnded();
      return write(text);
    };
    const tx: Writer = {
      all: async <T>(query: Sql) => statement(render(query, '?')).all<T>(query.values),
      first: async <T>(query: Sql) => statement(render(query, '?')).first<T>(query.values),
      run: async (query) => statement(render(query, '?')).run(query.values),
      insertMany: async (table, columns, rows, tail = '') => {
        const insert = statement(`insert into ${table} (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')}) ${tail}`);
        let changes = 0;
        for (const row of rows) changes += insert.run(row);
        return changes;
      },
      insertLast: async (table, columns, rows) => {
        await tx.insertMany(table, columns, rows);
      },
    };
    return {
      tx,
      end: () => {
        open = false;
      },
    };
  }

  /** Queued transactions share one commit, each in a savepoint of its own: one that fails takes only itself back. */
  async function drain(): Promise<void> {
    draining = true;
    while (queue.length > 0) {
      if (performance.now() - turnedAt > TURN_MS) {
        await new Promise(setImmediate);
        turnedAt = performance.now();
      }
      const group = queue.splice(0, GROUP_SIZE);
      const settled: (() => void)[] = [];
      try {
        log.mustHold();
        writing.exec('begin immediate');
        for (const { work, resolve, reject } of group) {
          writing.exec('savepoint one');
          const { tx, end } = handle();
          try {
            const value = await withoutWaiting(work(tx));
            writing.exec('release one');
            settled.push(() => resolve(value));
          } catch (error) {
            // A full disk takes the whole transaction back by itself: the savepoint is gone, and this is the error to tell.
            if (!writing.isTransaction) throw error;
            writing.exec('rollback to one; release one');
            settled.push(() => reject(error));
          } finally {
            end();
          }
        }
        writing.exec('commit');
        checkpointer.committed();
        if (group.some(({ durable }) => durable)) log.committed();
      } catch (error) {
        try {
          if (writing.isTransaction) writing.exec('rollback');
        } catch {
          // What failed before is the error to tell, and the next group begins by itself.
        }
        for (const { reject } of group) reject(error);
        continue;
      }
      answer(group, settled);
    }
    draining = false;
  }

  /** The next group need not wait for the disk of this one: one wait then serves several. */
  function answer(group: readonly Queued[], settled: readonly (() => void)[]): void {
    const settle = () => {
      for (const one of settled) one();
    };
    const waiting = group.some(({ durable }) => durable) ? log.durable() : null;
    const refuse = (error: unknown) => {
      for (const { reject } of group) reject(error);
    };
    if (waiting === null) settle();
    else waiting.then(settle, refuse);
  }

  const shown = async <T>(answer: T): Promise<T> => {
    await log.durable();
    return answer;
  };

  const transaction = <T>(work: (tx: Writer) => Promise<T>, { durable = true }: TransactionOptions = {}) =>
    new Promise<T>((resolve, reject) => {
      if (closing) return reject(new Error('the database is closed'));
      queue.push({ work, durable, resolve: resolve as (value: unknown) => void, reject });
      if (!draining) queueMicrotask(() => draining || void drain());
    });

  return {
    engine: 'sqlite',
    parallelReads: false,
    all: async <T>(query: Sql) => shown(read(render(query, '?')).all<T>(query.values)),
    first: async <T>(query: Sql) => shown(read(render(query, '?')).first<T>(query.values)),
    tuples: async <T>(query: Sql) => shown(read(render(query, '?')).tuples<T>(query.values)),
    transaction,
    alone: {
      first: (query) => transaction((tx) => tx.first(query)),
      run: (query) => transaction((tx) => tx.run(query)),
    },
    counts,
    forUpdate: sql``,
    forUpdateSkipLocked: sql``,
    backup: async (target) => {
      await backup(reading, target);
    },
    close: async () => {
      // What comes from now on is refused: the rest below takes its time.
      closing = true;
      while (draining || queue.length > 0) await new Promise(setImmediate);
      await checkpointer.close();
      await log.close();
      reading.close();
      writing.close();
    },
  };
}

function connect(file: string, readOnly: boolean): DatabaseSync {
  const database = new DatabaseSync(file, { readOnly, timeout: BUSY_TIMEOUT_MS });
  database.exec('pragma foreign_keys = on; pragma temp_store = memory; pragma cache_size = -16000;');
  return database;
}

type Prepared = {
  tuples<T>(values: readonly SqlValue[]): T[];
  all<T>(values: readonly SqlValue[]): T[];
  first<T>(values: readonly SqlValue[]): T | undefined;
  run(values: readonly SqlValue[]): number;
};

function statements(database: DatabaseSync, counts: { statements: number }): (text: string) => Prepared {
  const prepared = new Map<string, Prepared>();
  return (text) => {
    counts.statements += 1;
    let statement = prepared.get(text);
    if (!statement) {
      if (prepared.size >= STATEMENTS_KEPT) prepared.clear();
      statement = prepare(database, text);
      prepared.set(text, statement);
    }
    return statement;
  };
}

/**
 * Rows are fetched as arrays and made objects of one shape here: the objects that the driver itself makes are
 * dictionaries, and reading their many columns costs more than the query.
 */
function prepare(database: DatabaseSync, text: string): Prepared {
  const statement = database.prepare(text);
  statement.setReturnArrays(true);
  const names = statement.columns().map(({ name }) => name);
  // Parsed, because an object that is parsed keeps one shape for any number of columns.
  const shape = JSON.parse(`{${names.map((name) => `${JSON.stringify(name)}:null`).join(',')}}`) as Row;
  const toRow = (values: readonly SqlValue[]): Row => {
    const row = { ...shape };
    for (let i = 0; i < names.length; i += 1) row[names[i]!] = values[i]!;
    return row;
  };
  return {
    tuples: <T>(values: readonly SqlValue[]) => statement.all(...values) as unknown as T[],
    all: <T>(values: readonly SqlValue[]) => (statement.all(...values) as unknown as SqlValue[][]).map(toRow) as T[],
    first: <T>(values: readonly SqlValue[]) => {
      const found = statement.get(...values) as unknown as SqlValue[] | undefined;
      return found && (toRow(found) as T);
    },
    run: (values) => Number(statement.run(...values).changes),
  };
}

/**
 * Our driver answers at once, so work that only talks to the database settles within the microtasks that are due.
 * Whatever is still open when the event loop turns was waiting for something else.
 */
async function withoutWaiting<T>(work: Promise<T>): Promise<T> {
  let turn: NodeJS.Immediate | undefined;
  const turned = new Promise<never>((_, reject) => {
    turn = setImmediate(() => reject(new TransactionWaited()));
  });
  try {
    return await Promise.race([work, turned]);
  } finally {
    clearImmediate(turn);
  }
}

/** Holds a lock of the operating system, which ends with the process however it ends. Null when another process holds it. */
export function lockFile(file: string): { release(): void } | null {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('pragma journal_mode = delete; begin exclusive');
    return { release: () => database.close() };
  } catch {
    database.close();
    return null;
  }
}
