import type { Duplex } from 'node:stream';
import pg from 'pg';
import { hintChannel, isAbsent, openPresence } from './presence.ts';
import { render, type Sql, type SqlValue, sql } from './sql.ts';
import { MAINTENANCE_LOCK_TIMEOUT_MS, type Storage, TransactionEnded, type Writer } from './storage.ts';

/** Connections of one node. Deliveries, refreshes and requests each hold one only while they talk to the database. */
const TRANSACTIONS_AT_ONCE = 10;
/**
 * For single statements, which have connections of their own: where commits queue for theirs, the read that delivers what the
 * first of them committed came after the last (docs/decisions/0015).
 */
const READS_AT_ONCE = 8;
const CONNECT_TIMEOUT_MS = 10_000;
/** A statement that runs longer is a fault of ours, and must not hold locks. */
const STATEMENT_TIMEOUT_MS = 30_000;
/**
 * A database that answers nothing at all for this long is not there any more, whatever the connection says: where its machine
 * or the network between went without a word, the system would believe in it for some 15 minutes.
 */
export const SILENT_AFTER_MS = STATEMENT_TIMEOUT_MS + 5_000;
/** The system looks after connections at rest. */
const KEEP_ALIVE_AFTER_MS = 5_000;
/** Of an insertion: a message of a megabyte or two. */
const ROWS_PER_STATEMENT = 5_000;
const TRANSACTION_TRIES = 3;
/** Held by the node that changes partitions: another constant than that of migrations. */
const MAINTENANCE_LOCK = 7_069_110_117;
const RETRYABLE = new Set(['40001', '40P01']);

/** Opens a pool. 64-bit integers are parsed to numbers: every id, time and amount of ours is below 2^53. */
export function openPostgres(url: string, { silentAfterMs = SILENT_AFTER_MS } = {}): Storage {
  const settings: pg.PoolConfig = {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: silentAfterMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
    application_name: 'pontage',
    // Statements that a transaction gives at once travel at once: `begin` then costs no round trip of its own.
    pipeline: true,
    types: {
      getTypeParser: ((oid: number, format: 'text' | 'binary') => (oid === 20 ? Number : pg.types.getTypeParser(oid, format))) as never,
    },
  };
  const pool = openPool({ ...settings, max: TRANSACTIONS_AT_ONCE });
  const readers = openPool({ ...settings, max: READS_AT_ONCE });
  const typesOf = createTypes();

  const counts = { statements: 0 };
  const ask = (query: Sql) => {
    counts.statements += 1;
    return readers.query(statement(query));
  };

  return {
    engine: 'postgres',
    parallelReads: true,
    all: async <T>(query: Sql) => (await ask(query)).rows as T[],
    first: async <T>(query: Sql) => (await ask(query)).rows[0] as T | undefined,
    tuples: async <T>(query: Sql) => {
      counts.statements += 1;
      return (await readers.query({ ...statement(query), rowMode: 'array' })).rows as T[];
    },
    transaction: async (work, { durable = true, patient = false } = {}) => {
      for (let attempt = 1; ; attempt += 1) {
        const client = await pool.connect();
        const { tx, last, end } = writer(client, typesOf, counts, patient ? FOR_EVER : {});
        let broken: Error | undefined;
        try {
          const begun = send(client, { text: BEGIN[patient ? 'patient' : durable ? 'durable' : 'lazy'] });
          const [value] = await Promise.all([work(tx), begun]);
          end();
          // Behind a statement that fails, a commit takes everything back; what failed is the error to tell.
          await Promise.all([...last, send(client, { text: 'commit' })]);
          return value;
        } catch (error) {
          end();
          if (isSilence(error)) broken = error;
          else
            await client.query('rollback').catch((failure: Error) => {
              broken = failure;
            });
          if (attempt < TRANSACTION_TRIES && isRetryable(error)) continue;
          throw error;
        } finally {
          client.release(broken);
        }
      }
    },
    alone: {
      first: async <T>(query: Sql) => (await again(() => ask(query))).rows[0] as T | undefined,
      run: async (query) => (await again(() => ask(query))).rowCount ?? 0,
    },
    counts,
    shared: {
      presence: (options) => openPresence({ url, connectTimeoutMs: CONNECT_TIMEOUT_MS, silentAfterMs }, options),
      isAbsent,
      hint: async (channel, payload) => {
        await ask(sql`select pg_notify(${hintChannel(channel)}, ${payload})`);
      },
      now: async () => {
        const { rows } = await ask(sql`select cast(extract(epoch from clock_timestamp()) * 1000 as bigint) as now`);
        return (rows[0] as { now: number }).now;
      },
    },
    maintain: async (work) => {
      const client = await pool.connect();
      let broken: Error | undefined;
      try {
        const { rows } = await client.query('select pg_try_advisory_lock($1) as got', [MAINTENANCE_LOCK]);
        if (!(rows[0] as { got: boolean }).got) return 'busy';
        try {
          await client.query(`set lock_timeout = ${MAINTENANCE_LOCK_TIMEOUT_MS}`);
          return await work(async (query) => {
            counts.statements += 1;
            await client.query(statement(query));
          });
        } finally {
          // A connection that cannot be put back as it was is closed, which frees the lock too.
          await client.query(`reset lock_timeout; select pg_advisory_unlock(${MAINTENANCE_LOCK})`).catch((failure: Error) => {
            broken = failure;
          });
        }
      } finally {
        client.release(broken);
      }
    },
    forUpdate: sql` for update`,
    forUpdateSkipLocked: sql` for update skip locked`,
    close: async () => {
      await Promise.all([pool.end(), readers.end()]);
    },
  };
}

function openPool(settings: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool(settings);
  // A lost connection is replaced by the pool, and what ran on it is rejected; without listeners, on the pool for idle
  // connections and on each client for those in use, the loss would also end the process.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

const BEGIN = {
  durable: 'begin',
  lazy: 'begin; set local synchronous_commit = off',
  patient: 'begin; set local statement_timeout = 0',
} as const;

/** Of the driver's patience with one statement; its types do not know that it can be given with each. The longest that a timer can be. */
const FOR_EVER = { query_timeout: 2 ** 31 - 1 };

/** The driver gave up waiting. What was sent may still be done, as with a connection that breaks. */
function isSilence(error: unknown): error is Error {
  return error instanceof Error && error.message === 'Query read timeout';
}

function isRetryable(error: unknown): boolean {
  return RETRYABLE.has((error as { code?: string }).code ?? '');
}

async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === TRANSACTION_TRIES || !isRetryable(error)) throw error;
    }
  }
}

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

function statement(query: Sql): pg.QueryConfig {
  const text = render(query, '$');
  const config: pg.QueryConfig = { text, values: query.values as SqlValue[] };
  const name = query.key ? nameOf(text) : undefined;
  return name ? { ...config, name } : config;
}

/**
 * Statements given in one turn leave in one packet: each would be a call of the operating system of its own, and those were
 * a fifth of the time of a refresh without changes. The driver shows its connection to those who ask, its types do not.
 */
function send(client: pg.PoolClient, config: pg.QueryConfig): Promise<pg.QueryResult> {
  const { stream } = (client as unknown as { connection: { stream: Duplex } }).connection;
  if (stream.writableCorked === 0) {
    stream.cork();
    process.nextTick(() => stream.uncork());
  }
  return client.query(config);
}

type Insertion = { table: string; columns: readonly string[]; tail: string };

/**
 * What is sent as `last` is answered by the time of the commit. After `end` nothing is sent: where one of several that a transaction
 * does at once has failed, the others may go on, and would write for themselves, or into the client's next transaction.
 */
function writer(
  client: pg.PoolClient,
  typesOf: TypesOf,
  counts: { statements: number },
  patience: { query_timeout?: number },
): { tx: Writer; last: readonly Promise<pg.QueryResult>[]; end(): void } {
  const last: Promise<pg.QueryResult>[] = [];
  let ended = false;
  /** An insertion that asks for its types, or sends its rows in pieces: what is given after it waits. */
  let busy: Promise<unknown> | null = null;
  const mustBeOpen = () => {
    if (ended) throw new TransactionEnded();
  };
  const sendCounted = (config: pg.QueryConfig) => {
    mustBeOpen();
    counts.statements += 1;
    return send(client, { ...config, ...patience });
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
type TypesOf = {
  /** Undefined: ask. */
  known(table: string, columns: readonly string[]): Types | undefined;
  ask(client: pg.PoolClient, table: string, columns: readonly string[]): Promise<Types>;
};

function createTypes(): TypesOf {
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
