import pg from 'pg';
import { createTypes, createWriter, send, statement } from './postgres-writer.ts';
import { hintChannel, isAbsent, openPresence } from './presence.ts';
import { type Sql, sql } from './sql.ts';
import { MAINTENANCE_LOCK_TIMEOUT_MS, type Storage } from './storage.ts';

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
const TRANSACTION_TRIES = 3;
/** Held by the node that changes partitions: another constant than that of migrations. */
const MAINTENANCE_LOCK = 7_069_110_117;
/** A serialisation failure, a deadlock. */
const RETRYABLE = new Set(['40001', '40P01']);
/** The transaction had failed before this statement. */
const ABORTED = '25P02';

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
        const { tx, last, failed, end } = createWriter(client, typesOf, counts, patient ? FOR_EVER : {});
        let broken: Error | undefined;
        try {
          const begun = send(client, { text: BEGIN[patient ? 'patient' : durable ? 'durable' : 'lazy'] });
          const [value] = await Promise.all([work(tx), begun]);
          end();
          // Behind a statement that fails, a commit takes everything back; what failed is the error to tell.
          const committed = send(client, { text: 'commit' });
          await Promise.all([...last, committed]);
          // Where the work has made light of what failed, only the answer's name says so.
          if ((await committed).command !== 'COMMIT')
            throw new Error('a statement of the transaction had failed: all of it was taken back');
          return value;
        } catch (told) {
          end();
          // Of statements given at once, those behind the one that failed fail for that reason, and may be heard of first.
          const error = codeOf(told) === ABORTED ? (failed[0] ?? told) : told;
          if (isSilence(error) || isStalePlan(error)) broken = error;
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

/** Prepared before another node's migration changed the table; this connection would fail at it for ever. */
function isStalePlan(error: unknown): error is Error {
  return (error as { routine?: string }).routine === 'RevalidateCachedQuery';
}

function isRetryable(error: unknown): boolean {
  return RETRYABLE.has(codeOf(error)) || isStalePlan(error);
}

function codeOf(error: unknown): string {
  return (error as { code?: string } | null)?.code ?? '';
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
