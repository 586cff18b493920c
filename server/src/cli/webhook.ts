import type { Command } from 'commander';
import { findApplication } from '../access/applications.ts';
import { isoTimestamp } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import {
  createEndpoint,
  deleteEndpoint,
  type Endpoint,
  findEndpoint,
  listEndpoints,
  rotateSecret,
  updateEndpoint,
} from '../endpoints/endpoints.ts';
import { ROTATION_OVERLAP_MS } from '../endpoints/secrets.ts';
import { EVENT_TYPES } from '../events/catalogue.ts';
import { appendTestEvent } from '../events/log.ts';
import type { Services } from '../services.ts';
import { describe, pickApplication, print, table, withServices } from './command.ts';

type Json = { json?: boolean };
const TYPES = EVENT_TYPES.join(', ');

export function addWebhookCommands(program: Command): void {
  const webhook = program.command('webhook').description('webhooks: where the events of an application go');

  describe(
    webhook,
    'create',
    'make a webhook; its signing secret is shown this once',
    'webhook create --app CLIENT_ID --url https://example.com/webhooks --name Main --events item.created,item.refreshed',
  )
    .option('--app <client-id>', 'the application; may be left out where there is only one')
    .requiredOption('--url <url>', 'where events are sent')
    .option('--name <name>', 'a name for people', 'Webhook')
    .option('--events <types>', `comma-separated, of ${TYPES}; all by default`)
    .action((options: Json & { app?: string; url: string; name: string; events?: string }) =>
      withServices(async ({ storage, vault, policy, clock }) => {
        const application = await pickApplication(storage, options.app);
        const fields = { name: options.name, url: options.url, events: readTypes(options.events) ?? EVENT_TYPES };
        const created = await createEndpoint({ storage, vault, now: clock.now() }, application.id, fields, policy);
        if (created.outcome !== 'created') throw new OperatorError(created.sentence, created.outcome === 'invalid' ? 2 : 1);
        print(options, { id: created.endpoint.id, secret: created.secret }, [
          `Webhook ${created.endpoint.id} is ready: events of "${application.name}" go to ${created.endpoint.url}`,
          `  Secret  ${created.secret}   (shown this once)`,
          `Try it: npx pontage webhook test ${created.endpoint.id}`,
        ]);
      }),
    );

  describe(webhook, 'list', 'list the webhooks', 'webhook list --app CLIENT_ID')
    .option('--app <client-id>', 'of this application only')
    .action((options: Json & { app?: string }) =>
      withServices(async ({ storage }) => {
        const application = options.app === undefined ? null : await pickApplication(storage, options.app);
        const endpoints = await listEndpoints(storage, application?.id ?? null);
        const rows = endpoints.map((row) => [
          row.id,
          row.enabled ? 'on' : 'off',
          row.name,
          row.url,
          row.events.length === EVENT_TYPES.length ? 'all' : row.events.join(','),
        ]);
        const lines =
          endpoints.length === 0
            ? ['There is no webhook yet: npx pontage webhook create --url URL']
            : table(['ID', 'STATE', 'NAME', 'URL', 'EVENTS'], rows);
        print(options, await Promise.all(endpoints.map((row) => shown(storage, row))), lines);
      }),
    );

  describe(webhook, 'update <id>', 'change a webhook: only what is given', 'webhook update wh_... --events item.refreshed --disable')
    .option('--url <url>', 'where events are sent')
    .option('--name <name>', 'a name for people')
    .option('--events <types>', 'comma-separated')
    .option('--enable', 'send again')
    .option('--disable', 'stop sending; events are kept for later')
    .action((id: string, options: Json & { url?: string; name?: string; events?: string; enable?: boolean; disable?: boolean }) =>
      withServices(async ({ storage, vault, policy, clock }) => {
        if (options.enable && options.disable) throw new OperatorError('Choose one of --enable and --disable.', 2);
        const events = readTypes(options.events);
        const change = {
          ...(options.url === undefined ? {} : { url: options.url }),
          ...(options.name === undefined ? {} : { name: options.name }),
          ...(events === null ? {} : { events }),
          ...(options.enable || options.disable ? { enabled: options.enable === true } : {}),
        };
        if (Object.keys(change).length === 0)
          throw new OperatorError('Say what to change: --url, --name, --events, --enable or --disable.', 2);
        const updated = await updateEndpoint({ storage, vault, now: clock.now() }, id, change, policy);
        if (updated.outcome === 'not_found') throw unknown(id);
        if (updated.outcome === 'invalid') throw new OperatorError(updated.sentence, 2);
        print(options, await shown(storage, updated.endpoint), [`Webhook ${id} is changed.`]);
      }),
    );

  describe(webhook, 'delete <id>', 'delete a webhook, with what waits for it', 'webhook delete wh_...').action(
    (id: string, options: Json) =>
      withServices(async ({ storage, vault, clock }) => {
        if (!(await deleteEndpoint({ storage, vault, now: clock.now() }, id))) throw unknown(id);
        print(options, { id, deleted: true }, [`Webhook ${id} is deleted.`]);
      }),
  );

  describe(
    webhook,
    'rotate-secret <id>',
    'make a new signing secret; the one before stays valid for 24 hours',
    'webhook rotate-secret wh_...',
  ).action((id: string, options: Json) =>
    withServices(async ({ storage, vault, clock }) => {
      const now = clock.now();
      const secret = await rotateSecret({ storage, vault, now }, id);
      if (secret === null) throw unknown(id);
      const until = isoTimestamp(now + ROTATION_OVERLAP_MS);
      print(options, { id, secret, previous_secret_expires_at: until }, [
        `  Secret  ${secret}   (shown this once)`,
        `Until ${until} both secrets sign each request.`,
      ]);
    }),
  );

  describe(webhook, 'test <id>', 'send a TEST_EVENT to a webhook', 'webhook test wh_...').action((id: string, options: Json) =>
    withServices(async (services) => {
      const eventId = await sendTest(services, id);
      print(options, { id, event_id: eventId }, [
        `TEST_EVENT ${eventId} is on its way, if a server is running. What became of it: npx pontage event show ${eventId}`,
      ]);
    }),
  );
}

async function sendTest({ storage, clock }: Services, id: string): Promise<string> {
  const endpoint = await findEndpoint(storage, id);
  if (!endpoint) throw unknown(id);
  if (!endpoint.enabled) throw new OperatorError(`Webhook ${id} is off: turn it on with npx pontage webhook update ${id} --enable`);
  const origin = { applicationId: endpoint.applicationId, refreshId: null, committedAt: clock.now(), endpointId: id };
  return storage.transaction((tx) => appendTestEvent(tx, origin));
}

async function shown(storage: Services['storage'], endpoint: Endpoint): Promise<object> {
  const application = await findApplication(storage, endpoint.applicationId);
  return {
    id: endpoint.id,
    client_id: application?.clientId ?? null,
    name: endpoint.name,
    url: endpoint.url,
    events: endpoint.events,
    enabled: endpoint.enabled,
    created_at: isoTimestamp(endpoint.createdAt),
    updated_at: isoTimestamp(endpoint.updatedAt),
  };
}

/** Null where nothing was said. */
function readTypes(text: string | undefined): string[] | null {
  if (text === undefined) return null;
  const types = text.split(',').map((type) => type.trim());
  return types.length === 1 && (types[0] === 'all' || types[0] === '*') ? [...EVENT_TYPES] : types.filter((type) => type !== '');
}

function unknown(id: string): OperatorError {
  return new OperatorError(`There is no webhook ${id}: see npx pontage webhook list`);
}
