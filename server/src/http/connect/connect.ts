/** The hosted Connect pages: one address per session, whose page is where the user stands; every move is a POST that leads back to it. */
import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { type ConnectSession, type ConnectStep, IDLE_LIFETIME_MS, moveConnectSession } from '../../access/connect_sessions.ts';
import { MINUTE_MS } from '../../base/clock.ts';
import type { Bank, Connector, Credentials } from '../../connectors/connector.ts';
import { accountsOfItem } from '../../accounts/accounts.ts';
import { findItem, type Item } from '../../items/items.ts';
import { findRefresh, type Refresh } from '../../items/refreshes.ts';
import { answerRefresh, connectItem, type ConnectionServices, refreshItem } from '../../refresh/connection.ts';
import { openState } from '../../refresh/run.ts';
import { sql } from '../../storage/sql.ts';
import type { Log } from '../../telemetry/log.ts';
import { type Standing, bind, isOwnForm, standingOf } from './session.ts';
import { bankList } from './views/bank-list.ts';
import { credentialsForm } from './views/credentials-form.ts';
import { filesForm, type FileProblem } from './views/files-form.ts';
import type { Page } from './views/layout.ts';
import type { Markup } from './views/markup.ts';
import { notFound, sessionExpired, unavailable } from './views/notices.ts';
import { failure, pending, success } from './views/outcome.ts';
import { start } from './views/start.ts';
import { statusSentence } from './views/statuses.ts';
import { approveInApp, otp, synchronizing } from './views/waiting.ts';

export type ConnectServices = ConnectionServices & {
  log: Log;
  banks: (environment: 'sandbox' | 'production') => readonly Bank[];
  connector: (bankId: number) => Connector | null;
  publicUrl: string;
  /** A refresh was asked for. */
  onRefreshRequested: () => void;
};

/** A form of text fields. */
const FORM_MAX_BYTES = 64 * 1024;
/** An upload in all: it is read in memory. A single file may have 20 MB. */
const UPLOAD_MAX_BYTES = 100 * 1024 * 1024;
const FILES_MAX = 50;
const CREDENTIAL_MAX_CHARACTERS = 256;
const CODE_MAX_CHARACTERS = 32;
/** A bank that takes longer is left to itself: the user goes on, and the refresh too. */
const PATIENCE_MS = 2 * MINUTE_MS;

export function createConnect(services: ConnectServices): Hono {
  const app = new Hono();
  const cookies = { secure: services.publicUrl.startsWith('https:') };

  app.use('*', async (c, next) => {
    await next();
    c.header(
      'Content-Security-Policy',
      "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    c.header('Cache-Control', 'no-store');
    c.header('Referrer-Policy', 'no-referrer');
    c.header('X-Content-Type-Options', 'nosniff');
    c.header('X-Frame-Options', 'DENY');
    c.header('X-Robots-Tag', 'noindex');
    c.header('Permissions-Policy', 'camera=(), microphone=(), geolocation=()');
    if (cookies.secure) c.header('Strict-Transport-Security', 'max-age=31536000; includeSubDomains');
  });
  app.onError((error, c) => {
    services.log.error({ error }, 'connect page');
    return c.html(unavailable({ language: preferredLanguage(c) }), 500);
  });
  app.notFound((c) => c.html(notFound({ language: preferredLanguage(c) }), 404));

  const standing = (c: Context) => standingOf(c, services.storage, c.req.param('token') ?? '', services.clock.now(), cookies);

  app.get('/session/:token', async (c) => {
    const found = await standing(c);
    if (found.kind === 'unknown' || found.kind === 'foreign') return refuse(c, found);
    const session = await withLanguage(services, found, c.req.query('language'), preferredLanguage(c));
    const visit = await visitOf(services, c, session, found.csrf);
    if (found.kind === 'unbound')
      return c.html(start({ ...visit.page, action: `${visit.path}/start?language=${session.language}`, purpose: session.purpose }));
    return c.html(await currentPage(services, visit, c.req.query('query') ?? ''));
  });

  app.post('/session/:token/start', bodyLimit({ maxSize: FORM_MAX_BYTES }), async (c) => {
    const found = await standing(c);
    if (found.kind === 'bound') return back(c);
    if (found.kind !== 'unbound') return refuse(c, found);
    const form = await c.req.parseBody();
    if (!isOwnForm(c, found.csrf, form.csrf)) return c.html(sessionExpired({ language: found.session.language }), 403);
    const language = c.req.query('language') === 'fr' ? 'fr' : 'en';
    const now = services.clock.now();
    if (!(await bind(c, services.storage, found.session, now, cookies))) return refuse(c, { kind: 'foreign', session: found.session });
    await begin(services, { ...found.session, language });
    return back(c);
  });

  app.post('/session/:token/bank', bodyLimit({ maxSize: FORM_MAX_BYTES }), (c) =>
    move(c, async (session, form) => {
      const application = await applicationOf(services, session);
      const bank = services.banks(application.environment).find(({ id }) => String(id) === form.bank_id);
      if (!bank || session.itemId !== null) return;
      await step(services, session, { bankId: bank.id, step: 'bank_creds_form' });
    }),
  );

  app.post('/session/:token/back', bodyLimit({ maxSize: FORM_MAX_BYTES }), (c) =>
    move(c, async (session) => {
      if (session.itemId === null) await step(services, session, { bankId: null, step: 'list_banks' });
    }),
  );

  app.post('/session/:token/credentials', bodyLimit({ maxSize: FORM_MAX_BYTES }), (c) =>
    move(c, async (session, form) => {
      const connector = session.bankId === null ? null : services.connector(session.bankId);
      if (connector?.bank.input !== 'credentials') return;
      const credentials: Credentials = {};
      for (const { type } of connector.bank.form) {
        const value = form[type];
        if (typeof value !== 'string' || value === '' || value.length > CREDENTIAL_MAX_CHARACTERS) return;
        credentials[type] = value;
      }
      await connect(services, session, connector, credentials);
    }),
  );

  app.post('/session/:token/files', bodyLimit({ maxSize: UPLOAD_MAX_BYTES, onError: (c) => tooLarge(c) }), async (c) => {
    const found = await standing(c);
    if (found.kind !== 'bound') return refuse(c, found);
    const form = await c.req.parseBody({ all: true });
    if (!isOwnForm(c, found.csrf, form.csrf)) return refuse(c, { kind: 'foreign', session: found.session });
    const { session } = found;
    const connector = session.bankId === null ? null : services.connector(session.bankId);
    if (!connector?.readFiles || (await isRefreshing(services, session))) return back(c);
    const posted = Array.isArray(form.files) ? form.files : [form.files];
    const files = posted.filter((file): file is File => file instanceof File && file.name !== '');
    const kept = session.itemId === null ? null : await keptState(services, session.itemId);
    const read =
      files.length === 0 || files.length > FILES_MAX
        ? { ok: false as const, problems: [countProblem(files.length)] }
        : connector.readFiles(await Promise.all(files.map(async (file) => ({ name: file.name, bytes: await file.bytes() }))), kept);
    if (read.ok) {
      await connect(services, session, connector, read.credentials);
      return back(c);
    }
    const visit = await visitOf(services, c, session, found.csrf);
    const problems = read.problems.map(({ fileName, sentence }) => ({ fileName, sentence: sentence[session.language] }));
    return c.html(filesPage(visit, connector.bank, problems), 422);
  });

  app.post('/session/:token/code', bodyLimit({ maxSize: FORM_MAX_BYTES }), (c) =>
    move(c, async (session, form) => {
      const code = typeof form.code === 'string' ? form.code.trim() : '';
      if (code === '' || code.length > CODE_MAX_CHARACTERS || session.refreshId === null || session.itemId === null) return;
      if (await answerRefresh(services, session.refreshId, session.itemId, code)) services.onRefreshRequested();
      await step(services, session, {});
    }),
  );

  app.post('/session/:token/retry', bodyLimit({ maxSize: FORM_MAX_BYTES }), (c) =>
    move(c, async (session) => {
      const refresh = session.refreshId === null ? null : await findRefresh(services.storage, session.refreshId);
      if (!refresh?.finishedAt || session.itemId === null) return;
      const needsForm = refresh.status === 402 || (await credentialsGone(services, session.itemId));
      if (needsForm) await step(services, session, { step: 'edit_bank_creds_form' });
      else await sync(services, session);
    }),
  );

  /** Every move: the session's own browser, our own form, then back to the page. */
  async function move(c: Context, act: (session: ConnectSession, form: Record<string, unknown>) => Promise<void>): Promise<Response> {
    const found = await standing(c);
    if (found.kind !== 'bound') return refuse(c, found);
    const form = await c.req.parseBody();
    if (!isOwnForm(c, found.csrf, form.csrf)) return c.html(sessionExpired({ language: found.session.language }), 403);
    await act(found.session, form);
    return back(c);
  }

  return app;
}

function back(c: Context): Response {
  return c.redirect(c.req.path.replace(/\/[a-z]+$/, ''), 303);
}

function refuse(c: Context, found: Standing): Response | Promise<Response> {
  if (found.kind === 'foreign') return c.html(sessionExpired({ language: found.session.language }), 403);
  return c.html(sessionExpired({ language: preferredLanguage(c) }), 404);
}

function tooLarge(c: Context): Response | Promise<Response> {
  return c.html(unavailable({ language: preferredLanguage(c) }), 413);
}

function preferredLanguage(c: Context): 'en' | 'fr' {
  return /^fr\b/i.test(c.req.header('accept-language') ?? '') ? 'fr' : 'en';
}

function countProblem(count: number): { fileName: string; sentence: { en: string; fr: string } } {
  return count === 0
    ? { fileName: '', sentence: { en: 'Choose at least one file.', fr: 'Choisissez au moins un fichier.' } }
    : {
        fileName: '',
        sentence: {
          en: `At most ${FILES_MAX} files at once; you chose ${count}.`,
          fr: `Au plus ${FILES_MAX} fichiers à la fois ; vous en avez choisi ${count}.`,
        },
      };
}

async function withLanguage(
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

type Application = { name: string; environment: 'sandbox' | 'production'; redirect_url: string | null; clock_offset_ms: number };

async function applicationOf(services: ConnectServices, session: ConnectSession): Promise<Application> {
  const application = await services.storage.first<Application>(
    sql`select name, environment, redirect_url, clock_offset_ms from applications where id = ${session.applicationId}`,
  );
  if (!application) throw new Error('a connect session without its application');
  return application;
}

/** What a page needs of where the user stands. */
type Visit = { path: string; session: ConnectSession; application: Application; page: Page };

async function visitOf(services: ConnectServices, c: Context, session: ConnectSession, csrf: string): Promise<Visit> {
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

/** The application's address with the documented parameters (contract, section 7); null where it has none. */
function redirectTarget(
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

/** After the first POST: where a session of its purpose begins. */
async function begin(services: ConnectServices, session: ConnectSession): Promise<void> {
  const item = session.itemId === null ? null : await findItem(services.storage, session.itemId);
  const bankId = item?.bankId ?? session.bankId;
  if (session.purpose === 'add') return step(services, session, { bankId, step: bankId === null ? 'list_banks' : 'bank_creds_form' });
  const files = bankId !== null && services.connector(bankId)?.bank.input === 'files';
  if (session.purpose === 'edit' || files) return step(services, session, { bankId, step: 'edit_bank_creds_form' });
  await sync(services, { ...session, bankId });
}

async function step(services: ConnectServices, session: ConnectSession, change: Parameters<typeof moveConnectSession>[2]): Promise<void> {
  const now = services.clock.now();
  await services.storage.transaction((tx) => moveConnectSession(tx, session, { language: session.language, ...change }, now));
}

/** "Manage SCA and sync": the bank is asked again, with the user present. */
async function sync(services: ConnectServices, session: ConnectSession): Promise<void> {
  if (session.itemId === null) return;
  const { clock_offset_ms } = await applicationOf(services, session);
  const asked = await refreshItem(services, session.itemId, 'connect', clock_offset_ms);
  if (asked) await step(services, session, { refreshId: asked.refreshId, step: 'sync_in_progress' });
  services.onRefreshRequested();
}

async function connect(services: ConnectServices, session: ConnectSession, connector: Connector, credentials: Credentials): Promise<void> {
  if (await isRefreshing(services, session)) return;
  const { clock_offset_ms } = await applicationOf(services, session);
  await step(services, session, {});
  await connectItem(services, {
    sessionId: session.id,
    applicationId: session.applicationId,
    userUuid: session.userUuid,
    bankId: connector.bank.id,
    credentials,
    clockOffsetMs: clock_offset_ms,
  });
  services.onRefreshRequested();
}

async function isRefreshing(services: ConnectServices, session: ConnectSession): Promise<boolean> {
  if (session.itemId === null) return false;
  const open = await services.storage.first(sql`select id from refreshes where item_id = ${session.itemId} and finished_at is null`);
  return open !== undefined;
}

async function credentialsGone(services: ConnectServices, itemId: number): Promise<boolean> {
  return (await findItem(services.storage, itemId))?.credentials == null;
}

async function keptState(services: ConnectServices, itemId: number) {
  const item: Item | null = await findItem(services.storage, itemId);
  return item ? openState(services, item) : null;
}

async function currentPage(services: ConnectServices, visit: Visit, query: string): Promise<Markup> {
  const { session, application, page, path } = visit;
  const connector = session.bankId === null ? null : services.connector(session.bankId);
  switch (session.step) {
    case 'list_banks':
      return bankList({
        ...page,
        action: `${path}/bank`,
        searchAction: path,
        query,
        banks: listedBanks(services, application, session, query),
      });
    case 'bank_creds_form':
    case 'edit_bank_creds_form': {
      if (!connector) break;
      if (connector.bank.input === 'files') return filesPage(visit, connector.bank, []);
      return credentialsPage(visit, connector.bank, null);
    }
    default: {
      const refresh = session.refreshId === null ? null : await findRefresh(services.storage, session.refreshId);
      if (connector && refresh) return progressPage(services, visit, connector.bank, refresh);
    }
  }
  return notFound({ language: session.language });
}

function listedBanks(services: ConnectServices, application: Application, session: ConnectSession, query: string): Bank[] {
  const wanted = plain(query);
  return services
    .banks(application.environment)
    .filter((bank) => plain(bank.name).includes(wanted))
    .filter((bank) => session.country === null || bank.countryCode === session.country || bank.input === 'files')
    .toSorted(
      (a, b) =>
        Number(b.isHighlighted) - Number(a.isHighlighted) ||
        (a.displayOrder ?? 1e9) - (b.displayOrder ?? 1e9) ||
        a.name.localeCompare(b.name),
    );
}

function plain(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().trim();
}

function filesPage({ page, path, session }: Visit, bank: Bank, problems: readonly FileProblem[]): Markup {
  return filesForm({ ...page, action: `${path}/files`, bank, problems, editing: session.purpose !== 'add' });
}

function credentialsPage({ page, path, session }: Visit, bank: Bank, error: string | null): Markup {
  return credentialsForm({ ...page, action: `${path}/credentials`, bank, error, editing: session.purpose !== 'add' });
}

/** The refresh decides the page: it is the same record that the API shows. */
async function progressPage(services: ConnectServices, visit: Visit, bank: Bank, refresh: Refresh): Promise<Markup> {
  const { session, application, page, path } = visit;
  const { language } = session;
  const goOn = (outcome: { success: boolean; step: ConnectStep }) => redirectTarget(session, application, outcome);
  switch (refresh.state) {
    case 'authenticating':
    case 'retrieving_data': {
      const waitedMs = services.clock.now() - ((session.idleExpiresAt ?? 0) - IDLE_LIFETIME_MS);
      if (waitedMs > PATIENCE_MS)
        return pending({ ...page, bankName: bank.name, continueUrl: goOn({ success: false, step: 'sync_pending' }) });
      const leaveUrl = goOn({ success: false, step: 'sync_in_progress' });
      return synchronizing({
        ...page,
        leaveUrl,
        bank,
        phase: refresh.state,
        refreshed: refresh.refreshedAccountsCount,
        total: refresh.totalAccountsCount,
      });
    }
    case 'info_required': {
      const { challenge } = refresh;
      if (!challenge) return notFound({ language });
      const leaveUrl = goOn({ success: false, step: 'otp_form' });
      if (challenge.type === 'APP_TO_APP') return approveInApp({ ...page, leaveUrl, bank, description: challenge.description });
      const { label, description, isNumeric, wrongAnswer } = challenge;
      return otp({ ...page, leaveUrl, action: `${path}/code`, bank, label, description, isNumeric, wrong: wrongAnswer });
    }
    case 'invalid_creds':
      return credentialsPage(
        { ...visit, page: { ...page, leaveUrl: goOn({ success: false, step: 'edit_bank_creds_form' }) } },
        bank,
        statusSentence(language, 402, refresh.statusCodeInfo),
      );
    case 'finished': {
      const accounts = (await accountsOfItem(services.storage, refresh.itemId)).filter(({ deletedAt }) => deletedAt === null);
      const continueUrl = goOn({ success: true, step: 'sync_success' });
      return success({
        ...page,
        bankName: bank.name,
        continueUrl,
        accountCount: session.purpose === 'add' ? accounts.length : null,
        historyFollows: refresh.phase === 'recent',
      });
    }
    case 'finished_error': {
      const sentence = statusSentence(language, (refresh.status ?? 1003) as 1003, refresh.statusCodeInfo);
      const retryAction = refresh.status === 1005 ? null : `${path}/retry`;
      return failure({ ...page, bankName: bank.name, sentence, retryAction, continueUrl: goOn({ success: false, step: 'sync_error' }) });
    }
    default:
      return refresh.state satisfies never;
  }
}
