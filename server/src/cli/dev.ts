import type { Command } from 'commander';
import { loadConfig } from '../config.ts';
import { describe, print } from './command.ts';
import { stopOnSignal } from './run.ts';
import type { Seeded } from './sandbox.ts';

/** Slow enough that the progress in Connect can be seen, quick enough that nobody waits. */
const DEMO_BANK_LATENCY_MS = 250;

export function addDevCommand(program: Command): void {
  describe(program, 'dev', 'run the server on this machine, with a sandbox, an inbox and a page to watch it (npm start)', 'dev').action(
    async (options: { json?: boolean }) => {
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
          return dashboardExtension(place);
        },
      });
      stopOnSignal(server);
      const made = seeded as Seeded | null;
      const connectUrl = made ? `${server.publicUrl}${await connectPath(server.services, made.application.id)}` : null;
      announce(options, server.publicUrl, made, connectUrl);
    },
  );
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
