/** Who may go on with a Connect session: the link names it, the cookie of the first POST owns it, the CSRF token proves our own page. */
import { createHmac } from 'node:crypto';
import type { Context } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import { bindConnectSession, type ConnectSession, findConnectSession } from '../../access/connect-sessions.ts';
import { digest, randomToken, sameText } from '../../base/random.ts';
import type { Storage } from '../../storage/storage.ts';

const COOKIE = 'pontage_connect';
const COOKIE_BYTES = 32;

export type Standing =
  | { kind: 'unknown' }
  /** No browser has it yet. */
  | { kind: 'unbound'; session: ConnectSession; csrf: string }
  | { kind: 'bound'; session: ConnectSession; csrf: string }
  /** Another browser has it. */
  | { kind: 'foreign'; session: ConnectSession };

type Cookies = { secure: boolean };

export async function standingOf(context: Context, storage: Storage, token: string, now: number, cookies: Cookies): Promise<Standing> {
  const session = await findConnectSession(storage, token, now);
  if (!session) return { kind: 'unknown' };
  if (session.cookieDigest === null) return { kind: 'unbound', session, csrf: csrfToken(token, session) };
  const cookie = readCookie(context, cookies);
  if (!cookie || !sameText(digest(cookie), session.cookieDigest)) return { kind: 'foreign', session };
  return { kind: 'bound', session, csrf: csrfToken(cookie, session) };
}

function readCookie(context: Context, { secure }: Cookies): string | undefined {
  return secure ? getCookie(context, COOKIE, 'host') : getCookie(context, COOKIE);
}

/**
 * Gives a browser its cookie with the first page, which takes nothing from the link: both requests of a double click on
 * "Continue" then come from one browser, whichever answer it sees.
 */
export function giveCookie(context: Context, cookies: Cookies): void {
  if (readCookie(context, cookies) === undefined) writeCookie(context, randomToken(COOKIE_BYTES), cookies);
}

/** Binds the session to this browser, with the cookie that it has or a new one. False where another browser was first. */
export async function bind(context: Context, storage: Storage, session: ConnectSession, now: number, cookies: Cookies): Promise<boolean> {
  const cookie = readCookie(context, cookies) ?? randomToken(COOKIE_BYTES);
  const bound = await storage.transaction((tx) => bindConnectSession(tx, session.id, digest(cookie), now));
  if (bound) writeCookie(context, cookie, cookies);
  return bound;
}

function writeCookie(context: Context, cookie: string, cookies: Cookies): void {
  // Lax: the user comes back to this page from the bank or the application by a link, and must still be known.
  const options = { httpOnly: true, sameSite: 'Lax', path: '/' } as const;
  if (cookies.secure) setCookie(context, COOKIE, cookie, { ...options, secure: true, prefix: 'host' });
  else setCookie(context, COOKIE, cookie, options);
}

function csrfToken(secret: string, session: ConnectSession): string {
  return createHmac('sha256', secret).update(`csrf ${session.id}`).digest('base64url');
}

/** A form of ours, posted from a page of ours: the token in the body, and what the browser itself says of the origin. */
export function isOwnForm(context: Context, csrf: string, posted: unknown): boolean {
  const site = context.req.header('sec-fetch-site');
  if (site !== undefined && site !== 'same-origin') return false;
  return typeof posted === 'string' && sameText(posted, csrf);
}
