/**
 * The dashboard of development mode, which has no sign-in: it answers only to this machine, under names of this machine
 * (a page elsewhere could otherwise reach it through a name that it controls), and acts only on its own forms.
 */
import { createHmac } from 'node:crypto';
import { type Context, Hono, type Next } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { getCookie, setCookie } from 'hono/cookie';
import { randomToken, sameText } from '../../base/random.ts';
import { pageHeaders } from '../edge/responses.ts';
import { type Stranger, strangerTo } from '../edge/this-machine.ts';
import { type createFaultyReceiver, forward } from './faults.ts';
import type { Inbox } from './inbox.ts';
import { inbox as inboxPage } from './views/inbox.ts';

const COOKIE = 'pontage_dashboard';
const COOKIE_BYTES = 24;
/** An event is under 1 KB; what is larger is none. */
const WEBHOOK_MAX_BYTES = 64 * 1024;
const FORM_MAX_BYTES = 8 * 1024;
const DAYS_ALLOWED = ['1', '7'];

export type DashboardServices = {
  inbox: Inbox;
  /** What stands before the inbox, and misbehaves if it was told to. */
  receiver: ReturnType<typeof createFaultyReceiver>;
  /** Where deliveries go on to, or null. */
  forwardTo: string | null;
  /** The application that the page is about; null when there is no sandbox application. */
  sandbox(): Promise<{ id: string; name: string; clientId: string; clockAt: number } | null>;
  /** Live secrets of the webhook that leads to the inbox, newest first. */
  inboxSecrets(): Promise<readonly string[]>;
  /** One day of the application's clock, and what falls due in it. */
  advanceOneDay(applicationId: string): Promise<void>;
  /** The path of a new Connect session of the application. */
  connectPath(applicationId: string): Promise<string>;
  now(): number;
  reportFailure(error: unknown): void;
};

/** Answers `/dashboard` and below; mount it at `/dashboard`. */
export function createDashboard(services: DashboardServices): Hono {
  const app = new Hono();
  const csrfKey = randomToken(32);
  const csrfOf = (cookie: string) => createHmac('sha256', csrfKey).update(cookie).digest('base64url');
  let moving: Promise<unknown> = Promise.resolve();

  app.use('*', (c, next) => onlyThisMachine(c, next), pageHeaders(['script', 'style', 'img', 'connect']));
  app.onError((error, c) => {
    services.reportFailure(error);
    return c.text('Something went wrong. The terminal says more.', 500);
  });

  app.get('/', async (c) => {
    const sandbox = await services.sandbox();
    if (!sandbox)
      return c.text('There is no sandbox application. Make one: npx pontage app create --name Sandbox --environment sandbox', 404);
    const cookie = getCookie(c, COOKIE) ?? randomToken(COOKIE_BYTES);
    setCookie(c, COOKIE, cookie, { httpOnly: true, sameSite: 'Strict', path: '/dashboard' });
    return c.html(
      inboxPage({
        applicationName: sandbox.name,
        clientId: sandbox.clientId,
        clockAt: sandbox.clockAt,
        csrf: csrfOf(cookie),
        events: services.inbox.events(),
        kindsSeen: services.inbox.kindsSeen(),
      }),
    );
  });

  app.post('/inbox', bodyLimit({ maxSize: WEBHOOK_MAX_BYTES }), async (c) => {
    const secrets = await services.inboxSecrets();
    if (secrets.length === 0) return c.text('No webhook leads here.', 404);
    const body = new Uint8Array(await c.req.arrayBuffer());
    const { headers } = c.req.raw;
    const { status, text } = await services.receiver.receive(async () => {
      const received = services.inbox.receive(body, headers, secrets, services.now());
      if (!received.ok) return { status: 400, text: received.message };
      return services.forwardTo === null ? { status: 200, text: 'ok' } : forward(services.forwardTo, body, headers);
    });
    return new Response(`${text}\n`, { status: status === 204 || status < 200 ? 200 : status });
  });

  app.get('/inbox/stream', (c) => {
    const stream = services.inbox.stream();
    if (!stream) return c.text('Too many pages are open.', 503);
    return c.body(stream, 200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
  });

  app.post('/clock', bodyLimit({ maxSize: FORM_MAX_BYTES }), (c) =>
    ownForm(c, csrfOf, async (form, applicationId) => {
      const days = String(form.days);
      if (!DAYS_ALLOWED.includes(days)) return c.text('Choose one day or seven.', 400);
      // One after the other, and a week day by day, so that the page shows each day's events as they come.
      const move = moving.then(async () => {
        for (let day = 0; day < Number(days); day += 1) await services.advanceOneDay(applicationId);
      });
      moving = move.catch(() => {});
      await move;
      return c.redirect('/dashboard', 303);
    }),
  );

  app.post('/connect', bodyLimit({ maxSize: FORM_MAX_BYTES }), (c) =>
    ownForm(c, csrfOf, async (_, applicationId) => c.redirect(await services.connectPath(applicationId), 303)),
  );

  async function ownForm(
    c: Context,
    csrf: (cookie: string) => string,
    act: (form: Record<string, unknown>, applicationId: string) => Promise<Response>,
  ): Promise<Response> {
    const cookie = getCookie(c, COOKIE);
    const form = await c.req.parseBody();
    const site = c.req.header('sec-fetch-site');
    const posted = form.csrf;
    if (!cookie || typeof posted !== 'string' || !sameText(posted, csrf(cookie)) || (site !== undefined && site !== 'same-origin')) {
      return c.text('This form is not from this page, or the server was restarted since: reload the page.', 403);
    }
    const sandbox = await services.sandbox();
    return sandbox ? act(form, sandbox.id) : c.text('There is no sandbox application.', 404);
  }

  return app;
}

const REFUSALS: Record<Stranger, string> = {
  'from elsewhere': 'The dashboard of development mode answers only to this machine.',
  'by another name': 'The dashboard of development mode answers only to names of this machine.',
  'through a proxy': 'The dashboard of development mode does not answer through a proxy.',
};

async function onlyThisMachine(c: Context, next: Next): Promise<Response | undefined> {
  const stranger = strangerTo(c);
  if (stranger !== null) return c.text(REFUSALS[stranger], 403);
  await next();
  return undefined;
}
