import { type Command, Option } from 'commander';
import {
  type Application,
  applicationNow,
  createApplication,
  type Environment,
  listApplications,
  PENDING_TRANSITIONS,
  type PendingTransition,
  rotateSecret,
  setPendingTransition,
} from '../access/applications.ts';
import { isoTimestamp } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { describe, pickApplication, print, table, withServices } from './command.ts';

const NAME_CHARACTERS_MAX = 200;

export function addAppCommands(program: Command): void {
  const app = program.command('app').description('applications: the programs that use the API');

  describe(
    app,
    'create',
    'make an application; its client secret is shown this once',
    'app create --name "My app" --environment sandbox --redirect-url http://localhost:3000/callback',
  )
    .requiredOption('--name <name>', 'its name, which users see in Connect')
    .addOption(
      new Option('--environment <environment>', 'sandbox has the Demo Bank and a test clock')
        .choices(['sandbox', 'production'])
        .default('sandbox'),
    )
    .option('--redirect-url <url>', 'where Connect sends the user at the end')
    .addOption(pendingTransitionOption().default('update'))
    .action(
      (options: { name: string; environment: Environment; redirectUrl?: string; pendingTransition: PendingTransition; json?: boolean }) =>
        withServices(async ({ storage, clock }) => {
          const name = options.name.trim();
          if (name === '' || name.length > NAME_CHARACTERS_MAX)
            throw new OperatorError(`--name must have 1 to ${NAME_CHARACTERS_MAX} characters.`, 2);
          const redirectUrl = checkRedirectUrl(options.redirectUrl);
          const made = await storage.transaction((tx) =>
            createApplication(
              tx,
              { name, environment: options.environment, redirectUrl, pendingTransition: options.pendingTransition },
              clock.now(),
            ),
          );
          print(options, { id: made.id, client_id: made.clientId, client_secret: made.clientSecret }, [
            `Application "${name}" (${options.environment}) is ready.`,
            `  Client id      ${made.clientId}`,
            `  Client secret  ${made.clientSecret}   (shown this once)`,
          ]);
        }),
    );

  describe(app, 'update <client-id>', 'change how an application is served', 'app update CLIENT_ID --pending-transition recreate')
    .addOption(pendingTransitionOption().makeOptionMandatory())
    .action((clientId: string, options: { pendingTransition: PendingTransition; json?: boolean }) =>
      withServices(async ({ storage, clock }) => {
        const application = await pickApplication(storage, clientId);
        const { pendingTransition } = options;
        await storage.transaction((tx) => setPendingTransition(tx, application.id, pendingTransition));
        const holds = pendingTransition === 'update' ? 'keep their row' : 'are deleted and recreated under a new id';
        print(options, shown({ ...application, pendingTransition }, clock.now()), [
          `From the next refresh on, pending transactions of "${application.name}" that are booked ${holds}.`,
        ]);
      }),
    );

  describe(app, 'list', 'list the applications', 'app list').action((options: { json?: boolean }) =>
    withServices(async ({ storage, clock }) => {
      const found = await listApplications(storage);
      const rows = found.map((row) => [row.clientId, row.environment, row.name, row.redirectUrl ?? '-']);
      const machine = found.map((row) => shown(row, clock.now()));
      print(
        options,
        machine,
        found.length === 0
          ? ['There is no application yet: npx pontage app create --name NAME']
          : table(['CLIENT ID', 'ENVIRONMENT', 'NAME', 'REDIRECT URL'], rows),
      );
    }),
  );

  describe(app, 'rotate-secret <client-id>', 'replace the client secret; the old one ends at once', 'app rotate-secret 3f0c...').action(
    (name: string, options: { json?: boolean }) =>
      withServices(async ({ storage }) => {
        const application = await pickApplication(storage, name);
        const rotated = await storage.transaction((tx) => rotateSecret(tx, application.id));
        if (!rotated) throw new OperatorError(`There is no application ${name}: see npx pontage app list`);
        print(options, { id: application.id, client_id: application.clientId, client_secret: rotated.clientSecret }, [
          `The old client secret of "${application.name}" has ended.`,
          `  Client id      ${application.clientId}`,
          `  Client secret  ${rotated.clientSecret}   (shown this once)`,
        ]);
      }),
  );
}

function pendingTransitionOption(): Option {
  const words = 'whether a pending transaction that is booked is updated, or deleted and recreated under a new id';
  return new Option('--pending-transition <how>', words).choices(PENDING_TRANSITIONS);
}

function shown(application: Application, now: number): object {
  return {
    id: application.id,
    name: application.name,
    environment: application.environment,
    client_id: application.clientId,
    redirect_url: application.redirectUrl,
    pending_transition: application.pendingTransition,
    clock: isoTimestamp(applicationNow(application, now)),
    created_at: isoTimestamp(application.createdAt),
  };
}

/** Mobile applications have schemes of their own (`myapp://callback`); what a browser would run is none. */
function checkRedirectUrl(text: string | undefined): string | null {
  if (text === undefined) return null;
  const url = URL.parse(text);
  if (url === null || ['javascript:', 'data:', 'vbscript:', 'blob:', 'file:'].includes(url.protocol)) {
    throw new OperatorError(`--redirect-url ${text} cannot be used: write it in full, e.g. https://example.com/callback`, 2);
  }
  return text;
}
