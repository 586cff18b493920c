/**
 * Connect sessions: a link to the hosted pages, good for one user and for a short while. A GET never consumes it (mail
 * scanners open links); the first POST binds it to the cookie of one browser.
 */
import { randomUUID } from 'node:crypto';
import { MINUTE_MS } from '../base/clock.ts';
import { digest } from '../base/random.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Writer } from '../storage/storage.ts';

/** A link is opened within minutes of being made; a longer life would only serve whoever finds it. */
export const LINK_LIFETIME_MS = 30 * MINUTE_MS;
/** After the first POST: as long as the user does something at least this often. */
export const IDLE_LIFETIME_MS = 30 * MINUTE_MS;

export type ConnectPurpose = 'add' | 'edit' | 'sync';
/** Where the user stands; the names are the contract's `step` values (section 7). */
export type ConnectStep =
  | 'list_banks'
  | 'bank_creds_form'
  | 'edit_bank_creds_form'
  | 'sync_in_progress'
  | 'otp_form'
  | 'sync_success'
  | 'sync_error'
  | 'sync_pending';

export type ConnectSession = {
  id: string;
  applicationId: string;
  userUuid: string;
  purpose: ConnectPurpose;
  itemId: number | null;
  bankId: number | null;
  refreshId: string | null;
  redirectUrl: string | null;
  context: string | null;
  country: string | null;
  language: 'en' | 'fr';
  cookieDigest: string | null;
  step: ConnectStep;
  linkExpiresAt: number;
  idleExpiresAt: number | null;
  endedAt: number | null;
};

export type NewConnectSession = {
  applicationId: string;
  userUuid: string;
  purpose: ConnectPurpose;
  language: 'en' | 'fr';
  itemId?: number | null;
  bankId?: number | null;
  redirectUrl?: string | null;
  context?: string | null;
  country?: string | null;
};

/** Answers the secret of the link, which is its only name; the table keeps a digest. */
export async function createConnectSession(tx: Writer, session: NewConnectSession, now: number): Promise<string> {
  const { itemId = null, bankId = null, redirectUrl = null, context = null, country = null } = session;
  const token = randomUUID();
  await tx.run(sql`
    insert into connect_sessions (id, application_id, user_uuid, purpose, item_id, bank_id, redirect_url, context, country, language,
      step, link_expires_at, created_at)
    values (${digest(token)}, ${session.applicationId}, ${session.userUuid}, ${session.purpose}, ${itemId}, ${bankId},
      ${redirectUrl}, ${context}, ${country}, ${session.language}, 'list_banks', ${now + LINK_LIFETIME_MS}, ${now})`);
  return token;
}

type SessionRow = {
  id: string;
  application_id: string;
  user_uuid: string;
  purpose: ConnectPurpose;
  item_id: number | null;
  bank_id: number | null;
  refresh_id: string | null;
  redirect_url: string | null;
  context: string | null;
  country: string | null;
  language: string;
  cookie_digest: string | null;
  step: ConnectStep;
  link_expires_at: number;
  idle_expires_at: number | null;
  ended_at: number | null;
};

/** The session behind a link that is still good; null otherwise. Ended sessions stay readable until they idle out. */
export async function findConnectSession(reader: Reader, token: string, now: number): Promise<ConnectSession | null> {
  const row = await reader.first<SessionRow>(sql`select * from connect_sessions where id = ${digest(token)}`);
  if (!row) return null;
  const expiresAt = row.idle_expires_at ?? row.link_expires_at;
  if (expiresAt <= now) return null;
  return {
    id: row.id,
    applicationId: row.application_id,
    userUuid: row.user_uuid,
    purpose: row.purpose,
    itemId: row.item_id,
    bankId: row.bank_id,
    refreshId: row.refresh_id,
    redirectUrl: row.redirect_url,
    context: row.context,
    country: row.country,
    language: row.language === 'fr' ? 'fr' : 'en',
    cookieDigest: row.cookie_digest,
    step: row.step,
    linkExpiresAt: row.link_expires_at,
    idleExpiresAt: row.idle_expires_at,
    endedAt: row.ended_at,
  };
}

/** Binds a session to a browser; false where another browser has it already. */
export async function bindConnectSession(tx: Writer, id: string, cookieDigest: string, now: number): Promise<boolean> {
  const changed = await tx.run(sql`
    update connect_sessions set cookie_digest = ${cookieDigest}, idle_expires_at = ${now + IDLE_LIFETIME_MS}
    where id = ${id} and (cookie_digest is null or cookie_digest = ${cookieDigest})`);
  return changed === 1;
}

export type SessionChange = {
  bankId?: number | null;
  itemId?: number;
  refreshId?: string;
  step?: ConnectStep;
  language?: 'en' | 'fr';
  endedAt?: number;
};

export async function moveConnectSession(tx: Writer, session: ConnectSession, change: SessionChange, now: number): Promise<void> {
  await tx.run(sql`
    update connect_sessions set bank_id = ${change.bankId === undefined ? session.bankId : change.bankId},
      item_id = ${change.itemId ?? session.itemId}, refresh_id = ${change.refreshId ?? session.refreshId},
      step = ${change.step ?? session.step}, language = ${change.language ?? session.language},
      ended_at = ${change.endedAt ?? session.endedAt}, idle_expires_at = ${now + IDLE_LIFETIME_MS}
    where id = ${session.id}`);
}

/** At most `limit` of them; answers how many. */
export async function deleteExpiredSessions(writer: Pick<Writer, 'run'>, now: number, limit: number): Promise<number> {
  return writer.run(sql`
    delete from connect_sessions where id in (
      select id from connect_sessions where coalesce(idle_expires_at, link_expires_at) <= ${now} limit ${limit}
    )`);
}
