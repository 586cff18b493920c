/** What a page needs of where the user stands: the session, its application, and the ways out of it. */
import type { Context } from 'hono';
import type { ConnectSession, ConnectStep } from '../../access/connect-sessions.ts';
import type { Bank, Connector } from '../../connectors/connector.ts';
import type { ConnectionServices } from '../../refresh/connection.ts';
import { sql } from '../../storage/sql.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Standing } from './session.ts';
import type { Page } from './views/layout.ts';

export type ConnectServices = ConnectionServices & {
  log: Log;
  banks: (environment: 'sandbox' | 'production') => readonly Bank[];
  connector: (bankId: number) => Connector | null;
  publicUrl: string;
  /** A refresh was asked for. */
  onRefreshRequested: () => void;
};

export type Application = { name: string; environment: 'sandbox' | 'production'; redirect_url: string | null; clock_offset_ms: number };

export type Visit = { path: string; session: ConnectSession; application: Application; page: Page };

export async function visitOf(services: ConnectServices, c: Context, session: ConnectSession, csrf: string): Promise<Visit> {
  const application = await applicationOf(services, session);
  const path = `/connect/session/${c.req.param('token')}`;
  const page: Page = {
    language: session.language,
    applicationName: application.name,
    csrf,
    languageSwitchUrl: `${path}?language=${session.language === 'fr' ? 'en' : 'fr'}`,
    leaveUrl: redirectTarget(session, application, { success: false, step: session.step }),
  };
  return { path, session, application, page };
}

export async function applicationOf(services: ConnectServices, session: ConnectSession): Promise<Application> {
  const application = await services.storage.first<Application>(
    sql`select name, environment, redirect_url, clock_offset_ms from applications where id = ${session.applicationId}`,
  );
  if (!application) throw new Error('a connect session without its application');
  return application;
}

/** The application's address with the documented parameters (contract, section 7); null where it has none. */
export function redirectTarget(
  session: ConnectSession,
  application: Application,
  outcome: { success: boolean; step: ConnectStep },
): string | null {
  const address = session.redirectUrl ?? application.redirect_url;
  if (address === null || !URL.canParse(address)) return null;
  const url = new URL(address);
  if (session.itemId !== null) url.searchParams.set('item_id', String(session.itemId));
  url.searchParams.set('user_uuid', session.userUuid);
  url.searchParams.set('success', String(outcome.success));
  if (!outcome.success) url.searchParams.set('step', outcome.step);
  url.searchParams.set('source', 'connect');
  if (session.context !== null) url.searchParams.set('context', session.context);
  return url.href;
}

export function preferredLanguage(c: Context): 'en' | 'fr' {
  return /^fr\b/i.test(c.req.header('accept-language') ?? '') ? 'fr' : 'en';
}

/** The session in the language of its user: the one asked for by the switch, the one kept, or the browser's. */
export async function withLanguage(
  services: ConnectServices,
  found: Extract<Standing, { session: ConnectSession; csrf: string }>,
  asked: string | undefined,
  preferred: 'en' | 'fr',
): Promise<ConnectSession> {
  const { session } = found;
  if (asked !== 'en' && asked !== 'fr') return found.kind === 'unbound' ? { ...session, language: preferred } : session;
  if (found.kind === 'bound' && asked !== session.language) {
    await services.storage.transaction((tx) => tx.run(sql`update connect_sessions set language = ${asked} where id = ${session.id}`));
  }
  return { ...session, language: asked };
}
