import type { Command } from 'commander';
import { findApplication } from '../access/applications.ts';
import { HOUR_MS, isoTimestamp, parseDuration } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { type Condition, readCondition } from '../delivery/attempts/condition.ts';
import {
  createEndpoint,
  deleteEndpoint,
  type Endpoint,
  findEndpoint,
  listEndpoints,
  rotateSecret,
  updateEndpoint,
} from '../endpoints/endpoints.ts';
import { resolveBySystem } from '../endpoints/lookups.ts';
import { enableEndpoint } from '../endpoints/resume.ts';
import { ROTATION_OVERLAP_MS, ROTATION_OVERLAP_MS_MAX } from '../endpoints/secrets.ts';
import { appendTestEvent } from '../events/append.ts';
import { EVENT_TYPES, OPERATIONAL_TYPES } from '../events/catalogue.ts';
import { showWebhook } from '../http/api/show-webhook.ts';
import type { Services } from '../services.ts';
import { describe, pickApplication, print, table, withServices } from './command.ts';
import { conditionLines } from './webhook-condition.ts';
import { addDeliveriesCommand } from './webhook-deliveries.ts';
import { addSettingOptions, readSettings, type SettingOptions, settingsLines } from './webhook-settings.ts';

type Json = { json?: boolean };
type UpdateOptions = SettingOptions & {
  url?: string;
  name?: string;
  events?: string;
  enable?: boolean;
  disable?: boolean;
  from?: string;
};
const TYPES = EVENT_TYPES.join(', ');
const EVENTS_HELP = `comma-separated, of ${TYPES} (the default, or "all"), and ${OPERATIONAL_TYPES.join(', ')}`;

export function addWebhookCommands(program: Command): void {
  const webhook = program.command('webhook').description('webhooks: where the events of an application go');

  addSettingOptions(
    describe(
      webhook,
      'create',
      'make a webhook; its signing secret is shown this once',
      'webhook create --app CLIENT_ID --url https://example.com/webhooks --name Main --events item.created,item.refreshed',
    ),
  )
    .option('--app <client-id>', 'the application; may be left out where there is only one')
    .requiredOption('--url <url>', 'where events are sent')
    .option('--name <name>', 'a name for people', 'Webhook')
    .option('--events <types>', EVENTS_HELP)
    .action((options: Json & SettingOptions & { app?: string; url: string; name: string; events?: string }) =>
      withServices(async ({ storage, vault, policy, clock }) => {
        const application = await pickApplication(storage, options.app);
        const named = { name: options.name, url: options.url, events: readTypes(options.events) ?? EVENT_TYPES };
        const fields = { ...named, ...readSettings(options) };
        const created = await createEndpoint(
          { storage, vault, now: clock.now(), resolve: resolveBySystem },
          application.id,
          fields,
          policy,
        );
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
      withServices(async (services) => {
        const { storage } = services;
        const application = options.app === undefined ? null : await pickApplication(storage, options.app);
        const endpoints = await listEndpoints(storage, application?.id ?? null);
        const rows = endpoints.map((row) => [
          row.id,
          stateOf(row),
          row.name,
          row.url,
          row.events.join() === EVENT_TYPES.join() ? 'all' : row.events.join(','),
        ]);
        const lines =
          endpoints.length === 0
            ? ['There is no webhook yet: npx pontage webhook create --url URL']
            : table(['ID', 'STATE', 'NAME', 'URL', 'EVENTS'], rows);
        print(options, await Promise.all(endpoints.map((row) => shown(services, row))), lines);
      }),
    );

  describe(webhook, 'show <id>', 'show a webhook: how it fares, what it has still to get, and its settings', 'webhook show wh_...').action(
    (id: string, options: Json) =>
      withServices(async (services) => {
        const endpoint = await findEndpoint(services.storage, id);
        if (!endpoint) throw unknown(id);
        const condition = await conditionOf(services, endpoint);
        print(options, await shown(services, endpoint, condition), [
          `Webhook ${id} "${endpoint.name}" is ${stateOf(endpoint)}: ${endpoint.url}`,
          ...conditionLines(condition),
          ...endpoint.events.map((type) => `  ${type}`),
          ...settingsLines(endpoint),
        ]);
      }),
  );

  addDeliveriesCommand(webhook);

  addSettingOptions(
    describe(webhook, 'update <id>', 'change a webhook: only what is given', 'webhook update wh_... --events item.refreshed --disable'),
  )
    .option('--url <url>', 'where events are sent')
    .option('--name <name>', 'a name for people')
    .option('--events <types>', EVENTS_HELP)
    .option('--enable', 'send again, also where it fails and gets nothing but probes')
    .option(
      '--from <where_it_stopped|now>',
      'with --enable: send what it missed (where_it_stopped, the default), or skip it for good (now)',
    )
    .option('--disable', 'stop sending; events are kept for later')
    .action((id: string, options: Json & UpdateOptions) =>
      withServices(async (services) => {
        const endpoint = await update(services, id, options);
        print(options, await shown(services, endpoint), [`Webhook ${id} is changed.`]);
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
    'make a new signing secret; the one before stays valid for a while',
    'webhook rotate-secret wh_... --overlap 48h',
  )
    .option('--overlap <duration>', 'how long the secret before stays valid: 0s to 7d', `${ROTATION_OVERLAP_MS / HOUR_MS}h`)
    .action((id: string, options: Json & { overlap: string }) =>
      withServices(async ({ storage, vault, clock }) => {
        const now = clock.now();
        const overlapMs = parseDuration(options.overlap);
        if (overlapMs === null || overlapMs > ROTATION_OVERLAP_MS_MAX) {
          throw new OperatorError(`--overlap "${options.overlap}" must be a duration from 0s to 7d, e.g. 24h.`, 2);
        }
        const secret = await rotateSecret({ storage, vault, now }, id, overlapMs);
        if (secret === null) throw unknown(id);
        const until = isoTimestamp(now + overlapMs);
        print(options, { id, secret, previous_secret_expires_at: until }, [
          `  Secret  ${secret}   (shown this once)`,
          overlapMs === 0 ? 'The secret before is no longer valid.' : `Until ${until} both secrets sign each request.`,
        ]);
      }),
    );

  describe(webhook, 'test <id>', 'send a TEST_EVENT to a webhook', 'webhook test wh_...').action((id: string, options: Json) =>
    withServices(async (services) => {
      const { eventId, nextProbeAt } = await sendTest(services, id);
      const tells = `What became of it: npx pontage event show ${eventId}`;
      print(
        options,
        { id, event_id: eventId },
        nextProbeAt === null
          ? [`TEST_EVENT ${eventId} is on its way, if a server is running. ${tells}`]
          : [
              `TEST_EVENT ${eventId} waits: the webhook fails, and gets nothing but probes (the next one at ${isoTimestamp(nextProbeAt)}).`,
              `Once its receiver is well: npx pontage webhook update ${id} --enable. ${tells}`,
            ],
      );
    }),
  );
}

async function update({ storage, vault, policy, clock }: Services, id: string, options: UpdateOptions): Promise<Endpoint> {
  if (options.enable && options.disable) throw new OperatorError('Choose one of --enable and --disable.', 2);
  const from = readFrom(options) === 'now' ? 'now' : 'stopped';
  const events = readTypes(options.events);
  const change = {
    ...(options.url === undefined ? {} : { url: options.url }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(events === null ? {} : { events }),
    ...(options.disable ? { enabled: false } : {}),
    ...readSettings(options),
  };
  if (Object.keys(change).length === 0 && !options.enable)
    throw new OperatorError('Say what to change: see npx pontage webhook update --help', 2);
  const now = clock.now();
  const updated = await updateEndpoint({ storage, vault, now, resolve: resolveBySystem }, id, change, policy);
  if (updated.outcome === 'not_found') throw unknown(id);
  if (updated.outcome === 'invalid') throw new OperatorError(updated.sentence, 2);
  if (!options.enable) return updated.endpoint;
  // Last, when everything else of it is as it should be. One that is on and fails begins anew too.
  await enableEndpoint({ storage, now }, id, from);
  const endpoint = await findEndpoint(storage, id);
  if (!endpoint) throw unknown(id);
  return endpoint;
}

/** The words of the management API. */
function readFrom({ from, enable }: UpdateOptions): 'where_it_stopped' | 'now' | undefined {
  if (from === undefined) return undefined;
  if (!enable) throw new OperatorError('--from goes with --enable.', 2);
  if (from !== 'where_it_stopped' && from !== 'now') throw new OperatorError(`--from "${from}" must be where_it_stopped or now.`, 2);
  return from;
}

async function sendTest(services: Services, id: string): Promise<{ eventId: string; nextProbeAt: number | null }> {
  const { storage, clock } = services;
  const endpoint = await findEndpoint(storage, id);
  if (!endpoint) throw unknown(id);
  if (!endpoint.enabled) throw new OperatorError(`Webhook ${id} is off: turn it on with npx pontage webhook update ${id} --enable`);
  const origin = { applicationId: endpoint.applicationId, refreshId: null, committedAt: clock.now(), endpointId: id };
  const { nextProbeAt } = await conditionOf(services, endpoint);
  return { eventId: await storage.transaction((tx) => appendTestEvent(tx, origin)), nextProbeAt };
}

function conditionOf({ storage, clock }: Services, endpoint: Endpoint): Promise<Condition> {
  return readCondition(storage, endpoint, clock.now());
}

async function shown(services: Services, endpoint: Endpoint, known?: Condition): Promise<object> {
  const application = await findApplication(services.storage, endpoint.applicationId);
  return { client_id: application?.clientId ?? null, ...showWebhook(endpoint, known ?? (await conditionOf(services, endpoint))) };
}

function stateOf({ enabled, disabledReason }: Endpoint): string {
  if (enabled) return 'on';
  return disabledReason === null || disabledReason === 'owner' ? 'off' : `off (${disabledReason})`;
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
