/**
 * A PostgreSQL session that shows the others that this process is alive: it holds a lock which the database gives up by
 * itself when the session ends. The same session listens for hints.
 */
import pg from 'pg';
import { sql } from './sql.ts';
import type { Presence, PresenceOptions, Reader } from './storage.ts';

/** Locks of sessions and hints carry this before their own names, beside whatever else uses the database. */
const PREFIX = 'pontage/';
/** The system notices a connection whose other end has gone without a word. */
const KEEP_ALIVE_AFTER_MS = 5_000;

export function openPresence(url: string, connectTimeoutMs: number, options: PresenceOptions): Presence {
  let client: pg.Client | null = null;
  let holding: Promise<boolean> | null = null;
  let held = false;
  let closed = false;

  function lose(lost: pg.Client) {
    if (client !== lost) return;
    client = null;
    const was = held;
    held = false;
    if (was && !closed) options.onLost();
  }

  async function connect(): Promise<pg.Client> {
    const connecting = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
      application_name: 'pontage presence',
    });
    connecting.on('error', () => lose(connecting));
    connecting.on('end', () => lose(connecting));
    connecting.on('notification', ({ payload }) => options.onHint(payload ?? ''));
    await connecting.connect();
    client = connecting;
    await connecting.query(`listen "${hintChannel(options.channel)}"`);
    return connecting;
  }

  async function hold(): Promise<boolean> {
    if (held) return true;
    if (closed) return false;
    const session = client ?? (await connect());
    const { rows } = await session.query<{ locked: boolean }>(`select pg_try_advisory_lock(hashtextextended($1, 0)) as locked`, [
      PREFIX + options.name,
    ]);
    held = client === session && rows[0]?.locked === true;
    return held;
  }

  return {
    hold() {
      holding ??= hold().finally(() => {
        holding = null;
      });
      return holding;
    },
    get held() {
      return held;
    },
    async close() {
      closed = true;
      held = false;
      await holding?.catch(() => {});
      const ending = client;
      client = null;
      await ending?.end().catch(() => {});
    },
  };
}

/** Whether no session holds `name`; if so nobody gets it before the end of this transaction. */
export async function isAbsent(tx: Reader, name: string): Promise<boolean> {
  const row = await tx.first<{ free: boolean }>(sql`select pg_try_advisory_xact_lock(hashtextextended(${PREFIX + name}, 0)) as free`);
  return row?.free === true;
}

export function hintChannel(channel: string): string {
  return PREFIX + channel;
}
