import type { Command } from 'commander';
import { parseDuration, SECOND_MS } from '../base/clock.ts';
import { loadConfig, OperatorError } from '../config.ts';
import type { Faults } from '../http/admin/faults.ts';
import { describe, print } from './command.ts';
import { stopOnSignal } from './run.ts';
import type { Seeded } from './sandbox.ts';

/** Slow enough that the progress in Connect can be seen, quick enough that nobody waits. */
const DEMO_BANK_LATENCY_MS = 250;
/** Beyond every deadline of a delivery. */
const SLOW_MAX_MS = 60 * SECOND_MS;
const DUPLICATE_SHARE = 0.2;

export function addDevCommand(program: Command): void {
  describe(
    program,
    'dev',
    'run the server on this machine, with a sandbox, an inbox and a page to watch it (npm start)',
    'dev --forward http://localhost:3000/webhooks --flaky 20% --duplicate',
  )
    .option('--forward <url>', 'send what the inbox gets on to a receiver of yours, and answer what it answers')
    .option('--flaky <share>', 'the inbox fails that share of the deliveries, e.g. 20%')
    .option('--slow <duration>', 'the inbox takes that long for each answer, e.g. 5s')
    .option(
      '--duplicate [share]',
      'the inbox takes that share of the deliveries and answers as if it had not, so that they come again (20%)',
    )
    .option('--reorder', 'the inbox handles neighbouring deliveries the other way round')
    .action(async (options: DevOptions) => {
      const misbehaving = readMisbehaving(options);
      const config = loadConfig('development');
      const [{ startServer }, { connectPath, dashboardExtension, seedSandbox }] = await Promise.all([
        import('../server.ts'),
        import('./sandbox.ts'),
      ]);
      let seeded: Seeded | null = null;
      const server = await startServer(config, {
        demoBankLatencyMs: DEMO_BANK_LATENCY_MS,
        extend: async (place) => {
          seeded = await seedSandbox(place);
          return dashboardExtension(place, misbehaving);
        },
      });
      stopOnSignal(server);
      const made = seeded as Seeded | null;
      const connectUrl = made ? `${server.publicUrl}${await connectPath(server.services, made.application.id)}` : null;
      announce(options, server.publicUrl, made, connectUrl);
    });
}

type DevOptions = { json?: boolean; forward?: string; flaky?: string; slow?: string; duplicate?: string | true; reorder?: true };

/** Throws {@link OperatorError} for what cannot be read. */
function readMisbehaving(options: DevOptions): { faults: Faults; forwardTo: string | null } {
  const slowMs = options.slow === undefined ? 0 : parseDuration(options.slow);
  if (slowMs === null || slowMs > SLOW_MAX_MS) throw new OperatorError('--slow is a duration up to 60s, e.g. 5s.', 2);
  const url = options.forward === undefined ? null : URL.parse(options.forward);
  if (options.forward !== undefined && url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new OperatorError('--forward is the address of a receiver, e.g. http://localhost:3000/webhooks.', 2);
  const flakyShare = readShare('--flaky', options.flaky);
  const duplicateShare = options.duplicate === true ? DUPLICATE_SHARE : readShare('--duplicate', options.duplicate);
  return { faults: { flakyShare, slowMs, duplicateShare, reorder: options.reorder === true }, forwardTo: url?.href ?? null };
}

function readShare(name: string, text: string | undefined): number {
  if (text === undefined) return 0;
  const match = /^(\d{1,3}(?:\.\d+)?)%?$/.exec(text);
  const share = match ? Number(match[1]) / 100 : Number.NaN;
  if (!(share >= 0 && share <= 1)) throw new OperatorError(`${name} is a share, e.g. 20%.`, 2);
  return share;
}

function announce(options: { json?: boolean }, publicUrl: string, seeded: Seeded | null, connectUrl: string | null): void {
  const clientId = seeded?.application.clientId ?? null;
  const secret = seeded?.clientSecret ?? null;
  print(
    options,
    {
      url: publicUrl,
      dashboard_url: `${publicUrl}/dashboard`,
      connect_url: connectUrl,
      client_id: clientId,
      ...(secret === null ? {} : { client_secret: secret }),
    },
    [
      `Pontage is ready: open ${publicUrl}`,
      '',
      ...(seeded === null || connectUrl === null
        ? ['There is no sandbox application: npx pontage app create --name Sandbox']
        : [
            `  Connect a bank  ${connectUrl}`,
            '                  (good for 30 minutes; take the Demo bank, any login and password)',
            `  Client id       ${clientId}`,
            secret === null
              ? `  Client secret   was shown at the first start; a new one: npx pontage app rotate-secret ${clientId}`
              : `  Client secret   ${secret}`,
            ...(secret === null ? [] : ['                  (shown this once)']),
            '',
            'Next, in another terminal:',
            `  curl ${publicUrl}/v2/banks -H 'Bridge-Version: 2021-06-01' -H 'Client-Id: ${clientId}' -H 'Client-Secret: ${secret ?? 'YOUR_CLIENT_SECRET'}'`,
            `  npx pontage webhook create --app ${clientId} --url http://localhost:3000/webhooks`,
            '  npx pontage clock advance 1d',
            '  npx pontage --help',
          ]),
      '',
      'Stop with Ctrl-C.',
    ],
  );
}
