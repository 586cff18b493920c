import { Command } from 'commander';
import { VERSION } from '../config.ts';
import { addAccountCommands } from './account.ts';
import { addAppCommands } from './app.ts';
import { addAttemptCommands } from './attempt.ts';
import { addAuditCommand } from './audit.ts';
import { addBackupCommands } from './backup.ts';
import { addClockCommands } from './clock.ts';
import { addDemoCommand } from './demo.ts';
import { addDevCommand } from './dev.ts';
import { addDoctorCommand } from './doctor.ts';
import { addEventCommands } from './event.ts';
import { addKeyCommands } from './key.ts';
import { addMigrateCommand } from './migrate.ts';
import { addRefreshCommands } from './refresh.ts';
import { addReplayCommands } from './replay.ts';
import { addScenarioCommands } from './scenario.ts';
import { addServeCommand } from './serve.ts';
import { addWebhookCommands } from './webhook.ts';

/** All commands. Throws `CommanderError` on wrong usage, after its sentence was written. */
export function createProgram(): Command {
  const program = new Command('pontage')
    .description('An account-aggregation server with signed webhooks.')
    .version(VERSION)
    .showHelpAfterError('(--help shows how to use it)')
    .exitOverride()
    .addHelpText(
      'after',
      '\nExample:\n  $ npx pontage demo\n\nConfiguration is environment variables: README.md has them all, npx pontage doctor checks them.',
    );
  addDevCommand(program);
  addServeCommand(program);
  addDemoCommand(program);
  addAppCommands(program);
  addWebhookCommands(program);
  addEventCommands(program);
  addAuditCommand(program);
  addAttemptCommands(program);
  addReplayCommands(program);
  addRefreshCommands(program);
  addAccountCommands(program);
  addClockCommands(program);
  addScenarioCommands(program);
  addKeyCommands(program);
  addMigrateCommand(program);
  addBackupCommands(program);
  addDoctorCommand(program);
  return program;
}
