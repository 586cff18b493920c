/** The hosted Connect pages: one address per session, whose page is where the user stands; every move is a POST that leads back to it. */
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ConnectSession } from '../../access/connect-sessions.ts';
import { BANK_LOGIN_LIMIT, createRateLimit } from '../../access/limits.ts';
import { Refusal } from '../../base/errors.ts';
import { pageHeaders } from '../edge/responses.ts';
import { answerChallenge, begin, chooseBank, connect, hasBegun, isFormOf, retry, typedCredentials, upload } from './moves.ts';
import { credentialsPage, currentPage, filesPage } from './pages.ts';
import { bind, giveCookie, isOwnForm, type Standing, standingOf } from './session.ts';
import { notFound, sessionExpired, tooMany, unavailable } from './views/notices.ts';
import { start } from './views/start.ts';
import { statusSentence } from './views/statuses.ts';
import { texts } from './views/texts.ts';
import { type ConnectServices, preferredLanguage, visitOf, withLanguage } from './visit.ts';

export type { ConnectServices } from './visit.ts';

/** Each may take its whole limit of memory. */
const UPLOADS_AT_ONCE = 4;
/** A form of text fields. */
const FORM_MAX_BYTES = 64 * 1024;
/** An upload in all: it is read in memory. A single file may have 20 MB. */
const UPLOAD_MAX_BYTES = 100 * 1024 * 1024;

type Form = Record<string, unknown>;
/** Nothing leads back to the page; a response is shown instead. */
type Act = (session: ConnectSession, form: Form, csrf: string) => Promise<Response | undefined>;

export function createConnect(services: ConnectServices): Hono {
  const app = new Hono();
  const cookies = { secure: services.publicUrl.startsWith('https:') };
  const limited = bodyLimit({ maxSize: FORM_MAX_BYTES, onError: (c) => c.html(unavailable({ language: preferredLanguage(c) }), 413) });
  const standing = (c: Context) => standingOf(c, services.storage, c.req.param('token') ?? '', services.clock.now(), cookies);

  const logins = createRateLimit(BANK_LOGIN_LIMIT, services.clock);

  app.use('*', pageHeaders(['style', 'img']), hostedHeaders(cookies.secure));
  app.onError((error, c) => {
    if (error instanceof Refusal && error.type === 'too_many_requests')
      return c.html(tooMany({ language: preferredLanguage(c) }), 429, error.headers);
    services.log.error({ error }, 'connect page');
    return c.html(unavailable({ language: preferredLanguage(c) }), 500);
  });

  app.get('/session/:token', async (c) => {
    const found = await standing(c);
    if (found.kind === 'unknown' || found.kind === 'foreign') return refuse(c, found);
    const session = await withLanguage(services, found, c.req.query('language'), preferredLanguage(c));
    const visit = await visitOf(services, c, session, found.csrf);
    if (found.kind === 'bound' && hasBegun(session)) return c.html(await currentPage(services, visit, c.req.query('query') ?? null));
    giveCookie(c, cookies);
    return c.html(start({ ...visit.page, action: `${visit.path}/start?language=${session.language}`, purpose: session.purpose }));
  });

  app.post('/session/:token/start', limited, async (c) => {
    const found = await standing(c);
    const language = c.req.query('language') === 'fr' ? 'fr' : 'en';
    if (found.kind === 'bound') {
      // The second click, with the token of before, while the first is under way; or again, where the first came to nothing.
      if (!hasBegun(found.session)) await beginning({ ...found.session, language });
      return back(c);
    }
    if (found.kind !== 'unbound') return refuse(c, found);
    const form = await readForm(c, false);
    if (!isOwnForm(c, found.csrf, form.csrf)) return refuse(c, { kind: 'foreign', session: found.session });
    if (!(await bind(c, services.storage, found.session, services.clock.now(), cookies)))
      return refuse(c, { kind: 'foreign', session: found.session });
    await beginning({ ...found.session, language });
    return back(c);
  });

  async function beginning(session: ConnectSession): Promise<void> {
    if (session.purpose === 'sync') logins.take(session.userUuid);
    await begin(services, session);
  }

  app.post('/session/:token/bank', limited, (c) =>
    move(c, async (session, form) => {
      await chooseBank(services, session, form.bank_id);
      return undefined;
    }),
  );

  app.post('/session/:token/credentials', limited, (c) =>
    move(c, async (session, form, csrf) => {
      const connector = session.bankId === null ? null : services.connector(session.bankId);
      if (connector?.bank.input !== 'credentials' || !isFormOf(connector.bank, c.req.query('bank'))) return undefined;
      const credentials = typedCredentials(connector.bank, form);
      if (credentials !== null) logins.take(session.userUuid);
      const answer = credentials === null ? 'unusable' : await connect(services, session, connector, credentials);
      // One that is gone is told so by the page that follows.
      if (answer === 'connecting' || answer === 'gone') return undefined;
      const visit = await visitOf(services, c, session, csrf);
      const { language } = session;
      return answer === 'busy'
        ? c.html(credentialsPage(visit, connector.bank, texts[language].credentials.busy), 409)
        : c.html(credentialsPage(visit, connector.bank, statusSentence(language, 402, null)), 422);
    }),
  );

  const uploadLimited = bodyLimit({
    maxSize: UPLOAD_MAX_BYTES,
    onError: async (c) => {
      const found = await standing(c);
      if (found.kind !== 'bound') return refuse(c, found);
      const { uploadTooLarge } = texts[found.session.language].files;
      return wrongFiles(c, found.session, found.csrf, [{ fileName: '', sentence: uploadTooLarge(UPLOAD_MAX_BYTES) }], 413);
    },
  });
  /** An upload is read into memory: only for who may upload, and only a few at once. */
  let uploads = 0;
  const uploadAdmitted: MiddlewareHandler = async (c, next) => {
    const found = await standing(c);
    if (found.kind !== 'bound') return refuse(c, found);
    if (uploads >= UPLOADS_AT_ONCE) return c.html(unavailable({ language: found.session.language }), 503, { 'Retry-After': '5' });
    uploads += 1;
    try {
      await next();
    } finally {
      uploads -= 1;
    }
    return undefined;
  };
  app.post('/session/:token/files', uploadAdmitted, uploadLimited, (c) =>
    move(c, async (session, form, csrf) => {
      const posted = Array.isArray(form.files) ? form.files : [form.files];
      const files = posted.filter((file): file is File => file instanceof File && file.name !== '');
      const answer = await upload(services, session, files);
      return answer.kind === 'problems' ? wrongFiles(c, session, csrf, answer.problems, 422) : undefined;
    }),
  );

  app.post('/session/:token/code', limited, (c) =>
    move(c, async (session, form) => {
      await answerChallenge(services, session, form.code, c.req.query('asked'));
      return undefined;
    }),
  );

  app.post('/session/:token/retry', limited, (c) =>
    move(c, async (session) => {
      logins.take(session.userUuid);
      await retry(services, session);
      return undefined;
    }),
  );

  // The `notFound` of an application that is mounted in another is never asked.
  app.all('*', (c) => c.html(notFound({ language: preferredLanguage(c) }), 404));

  /** Every move: the session's own browser, our own form, then back to the page. */
  async function move(c: Context, act: Act): Promise<Response> {
    const found = await standing(c);
    if (found.kind !== 'bound') return refuse(c, found);
    const form = await readForm(c, true);
    if (!isOwnForm(c, found.csrf, form.csrf)) return refuse(c, { kind: 'foreign', session: found.session });
    return (await act(found.session, form, found.csrf)) ?? back(c);
  }

  async function wrongFiles(
    c: Context,
    session: ConnectSession,
    csrf: string,
    problems: Parameters<typeof filesPage>[2],
    status: 413 | 422,
  ): Promise<Response> {
    const connector = session.bankId === null ? null : services.connector(session.bankId);
    if (!connector) return back(c);
    return c.html(filesPage(await visitOf(services, c, session, csrf), connector.bank, problems), status);
  }

  return app;
}

/** What pages on the public internet say besides. */
function hostedHeaders(secure: boolean): MiddlewareHandler {
  return async (c, next) => {
    await next();
    c.header('X-Robots-Tag', 'noindex');
    c.header('Permissions-Policy', 'camera=(), microphone=(), geolocation=()');
    if (secure) c.header('Strict-Transport-Security', 'max-age=31536000; includeSubDomains');
  };
}

/** A body that cannot be read as a form is one without fields, and so without our token. */
async function readForm(c: Context, all: boolean): Promise<Form> {
  return c.req.parseBody({ all }).catch(() => ({}));
}

function back(c: Context): Response {
  return c.redirect(c.req.path.replace(/\/[a-z]+$/, ''), 303);
}

function refuse(c: Context, found: Standing): Response | Promise<Response> {
  if (found.kind === 'foreign') return c.html(sessionExpired({ language: found.session.language }), 403);
  return c.html(sessionExpired({ language: preferredLanguage(c) }), 404);
}
