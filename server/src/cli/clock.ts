import type { Command } from 'commander';
import { type Application, listApplications } from '../access/applications.ts';
import { isoTimestamp, MINUTE_MS, parseDuration } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { describe, pickApplication, print, withServices } from './command.ts';

/** A year of refreshes of a sandbox's few items takes far less. */
const ADVANCE_LIMIT_MS = 10 * MINUTE_MS;

export function addClockCommands(program: Command): void {
  const clock = program.command('clock').description('the test clock of a sandbox application');

  describe(clock, 'advance <duration>', 'move the clock forward, and run what falls due on the way', 'clock advance 1d')
    .option('--app <client-id>', 'of this application only; of all sandbox applications by default')
    .action((duration: string, options: { app?: string; json?: boolean }) =>
      withServices(async (services) => {
        const byMs = parseDuration(duration);
        if (byMs === null) throw new OperatorError(`"${duration}" is no duration: write e.g. 12h, 1d or 1w.`, 2);
        const applications = await pickSandboxes(services.storage, options.app);
        const { advanceClock } = await import('../refresh/test-clock.ts');
        const eventsBefore = await countEvents(services.storage);
        const moved: { application: Application; now: number }[] = [];
        for (const application of applications) {
          const outcome = await advanceClock(services, application.id, byMs, AbortSignal.timeout(ADVANCE_LIMIT_MS));
          if (!outcome.ok) throw new OperatorError(`${outcome.sentence}.`, 2);
          moved.push({ application, now: outcome.now });
        }
        const events = (await countEvents(services.storage)) - eventsBefore;
        print(
          options,
          { applications: moved.map(({ application, now }) => ({ client_id: application.clientId, now: isoTimestamp(now) })), events },
          [
            ...moved.map(({ application, now }) => `For "${application.name}" it is now ${isoTimestamp(now)}.`),
            `${events} ${events === 1 ? 'event' : 'events'} on the way: see npx pontage event list`,
          ],
        );
      }),
    );
}

async function pickSandboxes(storage: Storage, name: string | undefined): Promise<Application[]> {
  if (name !== undefined) return [await pickApplication(storage, name)];
  const sandboxes = (await listApplications(storage)).filter(({ environment }) => environment === 'sandbox');
  if (sandboxes.length > 0) return sandboxes;
  throw new OperatorError('There is no sandbox application: npx pontage app create --name NAME --environment sandbox');
}

async function countEvents(storage: Storage): Promise<number> {
  const row = await storage.first<{ count: number }>(sql`select count(*) as count from events`);
  return row?.count ?? 0;
}
