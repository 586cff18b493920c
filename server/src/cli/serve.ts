import type { Command } from 'commander';
import { loadConfig } from '../config.ts';
import { letGoOfTheStart } from './at-rest.ts';
import { describe, print } from './command.ts';
import { stopOnSignal } from './run.ts';

export function addServeCommand(program: Command): void {
  describe(program, 'serve', 'run the server in production', 'serve')
    .addHelpText('after', '\nNeeds PONTAGE_SECRET_KEY (openssl rand -base64 32) and PONTAGE_PUBLIC_URL (https://banks.example.com).')
    .action(async (options: { json?: boolean }) => {
      const config = loadConfig('production');
      const { startServer } = await import('../server.ts');
      const server = await startServer(config);
      stopOnSignal(server);
      print(options, { url: server.localUrl, public_url: server.publicUrl }, [
        `Pontage serves ${server.publicUrl} from ${server.localUrl}`,
      ]);
      letGoOfTheStart();
    });
}
