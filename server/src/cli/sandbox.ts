/** What the development mode brings along: a sandbox application whose webhook leads to the built-in inbox. */
import { type Application, applicationNow, createApplication, findApplication, listApplications } from '../access/applications.ts';
import { createConnectSession } from '../access/connect-sessions.ts';
import { DAY_MS } from '../base/clock.ts';
import { loadConfig, OperatorError, scenariosFolder } from '../config.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { createScenarios } from '../connectors/sandbox/scenarios/library.ts';
import { createEndpoint, type Endpoint, listEndpoints, updateEndpoint } from '../endpoints/endpoints.ts';
import { openSecrets } from '../endpoints/secrets.ts';
import { EVENT_TYPES } from '../events/catalogue.ts';
import { createDashboard } from '../http/admin/development.ts';
import { createFaultyReceiver, type Faults, NO_FAULTS } from '../http/admin/faults.ts';
import { createInbox, deliveredBefore } from '../http/admin/inbox.ts';
import { advanceClock, refusalSentence } from '../refresh/test-clock/test-clock.ts';
import type { Extension, RunningServer } from '../server.ts';
import type { Services } from '../services.ts';
import { sql } from '../storage/sql.ts';
import { createUser, findUser } from '../users/users.ts';

const INBOX_PATH = '/dashboard/inbox';
/** The user that the dashboard connects banks for. */
const FIRST_USER = 'first-user';
const DAY_LIMIT_MS = 5 * 60_000;

export type Seeded = { application: Application; clientSecret: string | null };
type Place = Omit<RunningServer, 'stop'>;

/** Makes the application and its webhook at the very first start; later only leads the webhook to where the inbox is now. */
export async function seedSandbox({ services, localUrl }: Place): Promise<Seeded | null> {
  const { storage, vault, clock, policy } = services;
  const url = `${localUrl}${INBOX_PATH}`;
  const endpoint = await inboxEndpoint(services);
  if (endpoint) {
    if (endpoint.url !== url) await updateEndpoint({ storage, vault, now: clock.now() }, endpoint.id, { url }, policy);
    const application = await findApplication(storage, endpoint.applicationId);
    return application && { application, clientSecret: null };
  }
  // A webhook that was deleted stays deleted.
  const before = await storage.first(sql`select id from endpoints where url like ${`%${INBOX_PATH}`} limit 1`);
  if (before) {
    const application = (await listApplications(storage)).find(({ environment }) => environment === 'sandbox');
    return application ? { application, clientSecret: null } : null;
  }
  const fields = { name: 'Sandbox', environment: 'sandbox', redirectUrl: null } as const;
  const made = await storage.transaction((tx) => createApplication(tx, fields, clock.now()));
  const created = await createEndpoint(
    { storage, vault, now: clock.now() },
    made.id,
    { name: 'Built-in inbox', url, events: EVENT_TYPES },
    policy,
  );
  if (created.outcome !== 'created') throw new OperatorError(`The built-in inbox could not be made: ${created.sentence}`);
  const application = await findApplication(storage, made.id);
  return application && { application, clientSecret: made.clientSecret };
}

async function inboxEndpoint({ storage }: Services): Promise<Endpoint | undefined> {
  return (await listEndpoints(storage, null)).find(({ url }) => {
    const parsed = URL.parse(url);
    return parsed?.pathname === INBOX_PATH && /^(?:127\.|localhost$|\[::1\]$)/.test(parsed.hostname);
  });
}

/** The path of a Connect session for the sandbox's first user, who is made where there is none. */
export async function connectPath({ storage, clock }: Services, applicationId: string): Promise<string> {
  const now = clock.now();
  const name = { externalUserId: FIRST_USER };
  const made = await storage.transaction((tx) => createUser(tx, { applicationId, identity: { kind: 'external', ...name } }, now));
  const user = made ?? (await findUser(storage, applicationId, name));
  if (!user) throw new Error('the first user is neither new nor there');
  const session = { applicationId, userUuid: user.uuid, purpose: 'add', language: 'en' } as const;
  return `/connect/session/${await storage.transaction((tx) => createConnectSession(tx, session, now))}`;
}

/** The dashboard with its inbox, for a server of the development mode. `faults` are those of the inbox; `forwardTo` is a receiver that gets what the inbox gets. */
export async function dashboardExtension(
  { services }: Place,
  { faults, forwardTo }: { faults: Faults; forwardTo: string | null } = { faults: NO_FAULTS, forwardTo: null },
): Promise<Extension> {
  const { storage, vault, clock, log } = services;
  const endpoint = await inboxEndpoint(services);
  const inbox = createInbox(endpoint ? await deliveredBefore(storage, endpoint) : []);
  const stopping = new AbortController();
  // The user watches the days go by, not the bank at work: there it answers at once.
  const bank = demoBank({ scenarios: createScenarios(scenariosFolder(loadConfig('development'))) });
  const instant: Services = { ...services, connector: (bankId) => (bankId === bank.bank.id ? bank : services.connector(bankId)) };
  const receiver = createFaultyReceiver(faults, Math.random);
  const dashboard = createDashboard({
    inbox,
    receiver,
    forwardTo,
    async sandbox() {
      const found = await inboxEndpoint(services);
      const applications = await listApplications(storage);
      const application =
        applications.find(({ id }) => id === found?.applicationId) ?? applications.find(({ environment }) => environment === 'sandbox');
      return application ? { ...application, clockAt: applicationNow(application, clock.now()) } : null;
    },
    async inboxSecrets() {
      const found = await inboxEndpoint(services);
      if (!found) return [];
      return ((await openSecrets(storage, vault, clock.now())).get(found.id) ?? []).map(({ secret }) => secret);
    },
    async advanceOneDay(applicationId) {
      const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(DAY_LIMIT_MS)]);
      const outcome = await advanceClock(instant, applicationId, { byMs: DAY_MS }, { signal });
      if (!outcome.ok) throw new Error(refusalSentence(outcome.refusal));
    },
    connectPath: (applicationId) => connectPath(services, applicationId),
    now: () => clock.now(),
    reportFailure: (error) => log.error({ error }, 'dashboard request failed'),
  });
  return {
    mount(app) {
      app.get('/', (c) => c.redirect('/dashboard'));
      app.route('/dashboard', dashboard);
    },
    close() {
      stopping.abort(new Error('the server stops'));
      receiver.close();
      inbox.close();
    },
  };
}
