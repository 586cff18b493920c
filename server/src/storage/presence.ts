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

export type PresencePlace = {
  url: string;
  connectTimeoutMs: number;
  /** The database is asked as often, and taken for gone when it has answered nothing for so long. */
  silentAfterMs: number;
};

export function openPresence(place: PresencePlace, options: PresenceOptions): Presence {
  let client: pg.Client | null = null;
  let probing: NodeJS.Timeout | undefined;
  let holding: Promise<boolean> | null = null;
  let held = false;
  let closed = false;

  function lose(lost: pg.Client) {
    if (client !== lost) return;
    client = null;
    clearInterval(probing);
    const was = held;
    held = false;
    if (was && !closed) options.onLost();
  }

  async function connect(): Promise<pg.Client> {
    const connecting = new pg.Client({
      connectionString: place.url,
      connectionTimeoutMillis: place.connectTimeoutMs,
      query_timeout: place.silentAfterMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
      application_name: 'pontage presence',
    });
    connecting.on('error', () => lose(connecting));
    connecting.on('end', () => lose(connecting));
    connecting.on('notification', ({ payload }) => options.onHint(payload ?? ''));
    await connecting.connect();
    client = connecting;
    probing = setInterval(() => void ask(connecting, 'select 1').catch(() => {}), place.silentAfterMs).unref();
    await ask(connecting, `listen "${hintChannel(options.channel)}"`);
    return connecting;
  }

  /** A session in which a statement fails is given up: it can be opened anew, one that says nothing can only be waited for. */
  async function ask<R extends pg.QueryResultRow>(session: pg.Client, text: string, values?: readonly unknown[]): Promise<R[]> {
    try {
      return (await session.query<R>(text, values as unknown[])).rows;
    } catch (error) {
      lose(session);
      session.end().catch(() => {});
      throw error;
    }
  }

  async function hold(): Promise<boolean> {
    if (held) return true;
    if (closed) return false;
    const session = client ?? (await connect());
    const lock = 'select pg_try_advisory_lock(hashtextextended($1, 0)) as locked';
    const [row] = await ask<{ locked: boolean }>(session, lock, [PREFIX + options.name]);
    held = client === session && row?.locked === true;
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
      clearInterval(probing);
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
