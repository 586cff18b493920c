import type { Duplex } from 'node:stream';
import pg from 'pg';
import { hintChannel, isAbsent, openPresence } from './presence.ts';
import { render, type Sql, type SqlValue, sql } from './sql.ts';
import { MAINTENANCE_LOCK_TIMEOUT_MS, type Storage, type Writer } from './storage.ts';

/** Connections of one node. Deliveries, refreshes and requests each hold one only while they talk to the database. */
const POOL_SIZE = 16;
const CONNECT_TIMEOUT_MS = 10_000;
/** A statement that runs longer is a fault of ours, and must not hold locks. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** PostgreSQL's protocol counts parameters in 16 bits; chunks stay well below. */
const PARAMETERS_PER_STATEMENT = 20_000;
const TRANSACTION_TRIES = 3;
/** Held by the node that changes partitions: another constant than that of migrations. */
const MAINTENANCE_LOCK = 7_069_110_117;
const RETRYABLE = new Set(['40001', '40P01']);

/** Opens a pool. 64-bit integers are parsed to numbers: every id, time and amount of ours is below 2^53. */
export function openPostgres(url: string): Storage {
  const pool = new pg.Pool({
    connectionString: url,
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    application_name: 'pontage',
    // Statements that a transaction gives at once travel at once: `begin` then costs no round trip of its own.
    pipeline: true,
    types: {
      getTypeParser: ((oid: number, format: 'text' | 'binary') => (oid === 20 ? Number : pg.types.getTypeParser(oid, format))) as never,
    },
  });
  // A lost connection is replaced by the pool, and what ran on it is rejected; without listeners, on the pool for idle
  // connections and on each client for those in use, the loss would also end the process.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));

  const counts = { statements: 0 };
  const ask = (query: Sql) => {
    counts.statements += 1;
    return pool.query(statement(query));
  };

  return {
    engine: 'postgres',
    all: async <T>(query: Sql) => (await ask(query)).rows as T[],
    first: async <T>(query: Sql) => (await ask(query)).rows[0] as T | undefined,
    transaction: async (work) => {
      for (let attempt = 1; ; attempt += 1) {
        const client = await pool.connect();
        let broken: Error | undefined;
        try {
          const begun = send(client, { text: 'begin' });
          const [value] = await Promise.all([work(writer(client, counts)), begun]);
          await send(client, { text: 'commit' });
          return value;
        } catch (error) {
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
      presence: (options) => openPresence(url, CONNECT_TIMEOUT_MS, options),
      isAbsent,
      hint: async (channel, payload) => {
        await ask(sql`select pg_notify(${hintChannel(channel)}, ${payload})`);
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
    close: () => pool.end(),
  };
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

/** Insertions of so few rows are prepared too: their texts are few, and often the same. */
const ROWS_PREPARED_MAX = 4;

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

function writer(client: pg.PoolClient, counts: { statements: number }): Writer {
  const ask = (config: pg.QueryConfig) => {
    counts.statements += 1;
    return send(client, config);
  };
  return {
    all: async <T>(query: Sql) => (await ask(statement(query))).rows as T[],
    first: async <T>(query: Sql) => (await ask(statement(query))).rows[0] as T | undefined,
    run: async (query) => (await ask(statement(query))).rowCount ?? 0,
    insertMany: async (table, columns, rows, tail = '') => {
      const rowsPerStatement = Math.floor(PARAMETERS_PER_STATEMENT / columns.length);
      const sent: Promise<pg.QueryResult>[] = [];
      for (let start = 0; start < rows.length; start += rowsPerStatement) {
        const chunk = rows.slice(start, start + rowsPerStatement);
        let parameter = 0;
        const values = chunk.map((row) => `(${row.map(() => `$${++parameter}`).join(',')})`).join(',');
        const text = `insert into ${table} (${columns.join(', ')}) values ${values} ${tail}`;
        const name = chunk.length <= ROWS_PREPARED_MAX ? nameOf(text) : undefined;
        sent.push(ask({ text, values: chunk.flat() as SqlValue[], ...(name ? { name } : {}) }));
      }
      let changes = 0;
      for (const { rowCount } of await Promise.all(sent)) changes += rowCount ?? 0;
      return changes;
    },
  };
}
