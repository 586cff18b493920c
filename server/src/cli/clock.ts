import type { Command } from 'commander';
import { type Application, listApplications } from '../access/applications.ts';
import { isoTimestamp, parseDuration } from '../base/clock.ts';
import type { WishOutcome } from '../clock-wishes.ts';
import { type Config, OperatorError, serverLockFile } from '../config.ts';
import type { MovedClock } from '../http/api/services.ts';
import type { ClockTarget } from '../refresh/test-clock/test-clock.ts';
import type { Services } from '../services.ts';
import type { Storage } from '../storage/storage.ts';
import { describe, pickApplication, print, withServices } from './command.ts';

type Options = { app?: string; json?: boolean };
type MoveOptions = Options & { deliveries?: boolean };

const APP_HELP = 'of this application only; of all sandbox applications by default';
const DELIVERIES_HELP = 'attempt deliveries and their retries on the way, too; needs a running server';

export function addClockCommands(program: Command): void {
  const clock = program.command('clock').description('the test clock of a sandbox application');

  describe(clock, 'show', 'say what time it is for a sandbox application', 'clock show')
    .option('--app <client-id>', APP_HELP)
    .action((options: Options) => withServices((services) => show(services, options)));

  describe(clock, 'advance <duration>', 'move the clock forward, and run what falls due on the way', 'clock advance 30d')
    .option('--app <client-id>', APP_HELP)
    .option('--deliveries', DELIVERIES_HELP)
    .action((duration: string, options: MoveOptions) => {
      const byMs = parseDuration(duration);
      if (byMs === null) throw new OperatorError(`"${duration}" is no duration: write e.g. 12h, 1d or 1w.`, 2);
      return withServices((services, config) => move(services, config, { byMs }, options));
    });

  describe(clock, 'to <moment>', 'move the clock forward to a moment', 'clock to 2030-12-24T08:00:00Z')
    .option('--app <client-id>', APP_HELP)
    .option('--deliveries', DELIVERIES_HELP)
    .action(async (moment: string, options: MoveOptions) => {
      const { readMoment } = await import('../refresh/test-clock/test-clock.ts');
      const to = readMoment(moment);
      if (to === null) throw new OperatorError(`"${moment}" is no moment: write e.g. 2030-12-24T08:00:00Z, with its time zone.`, 2);
      return withServices((services, config) => move(services, config, { to }, options));
    });
}

async function show({ storage, clock }: Services, options: Options): Promise<void> {
  const { readClock } = await import('../refresh/test-clock/test-clock.ts');
  const readings = [];
  for (const application of await pickSandboxes(storage, options.app)) {
    const reading = await readClock({ storage, clock }, application.id);
    if (reading?.environment !== 'sandbox') throw new OperatorError('Only a sandbox application has a test clock.', 2);
    readings.push({ application, now: isoTimestamp(reading.now), ahead_ms: reading.offsetMs });
  }
  print(
    options,
    { applications: readings.map(({ application, ...reading }) => ({ client_id: application.clientId, ...reading })) },
    readings.map(
      ({ application, now, ahead_ms }) => `For "${application.name}" it is ${now}${ahead_ms === 0 ? '' : ', ahead of real time'}.`,
    ),
  );
}

/** Without a limit of time: five years of many items take as long as they take, and Ctrl+C ends it where it stands. */
async function move(services: Services, config: Config, target: ClockTarget, options: MoveOptions): Promise<void> {
  if (options.deliveries && (await hasNoServer(config))) throw new OperatorError(`${await sentenceOf('no server')}.`, 2);
  const applications = await pickSandboxes(services.storage, options.app);
  const { advanceClock } = await import('../refresh/test-clock/test-clock.ts');
  const signal = new AbortController().signal;
  const moved: (Moved & { application: Application })[] = [];
  for (const application of applications) {
    const outcome = options.deliveries
      ? await (await import('../clock-wishes.ts')).askServer(services, application.id, target)
      : await advanceClock(services, application.id, target, { signal });
    if (!outcome.ok) throw new OperatorError(`${await sentenceOf(outcome.refusal)}.`, outcome.refusal === 'failed' ? 1 : 2);
    moved.push({ application, ...outcome });
  }
  tell(moved, options);
}

/** On SQLite its lock tells at once; on PostgreSQL its silence does. */
async function hasNoServer(config: Config): Promise<boolean> {
  if (config.databaseUrl !== null) return false;
  const { lockFile } = await import('../storage/sqlite.ts');
  const lock = lockFile(serverLockFile(config));
  lock?.release();
  return lock !== null;
}

type Moved = Extract<MovedClock, { ok: true }>;
type Refused = Extract<WishOutcome, { ok: false }>['refusal'];

async function sentenceOf(refusal: Refused): Promise<string> {
  switch (refusal) {
    case 'no server':
      return 'Deliveries need a running server, and none has answered: start one (npx pontage serve), or leave out --deliveries';
    case 'server ended':
      return 'The server that moved the clock has ended: the clock stands where it was then (see npx pontage clock show)';
    case 'failed':
      return 'The server could not move the clock: its log says why';
    case 'restless':
      return (await import('../delivery/rest.ts')).RESTLESS;
    default:
      return (await import('../refresh/test-clock/test-clock.ts')).refusalSentence(refusal);
  }
}

function tell(moved: readonly (Moved & { application: Application })[], options: MoveOptions): void {
  const total = (count: (one: Moved) => number) => moved.reduce((sum, one) => sum + count(one), 0);
  const refreshes = total((one) => one.refreshes);
  const events = total((one) => one.events);
  const sum = (name: keyof NonNullable<Moved['deliveries']>) => total(({ deliveries }) => deliveries?.[name] ?? 0);
  const [attempts, delivered, waiting, dead] = [sum('attempts'), sum('delivered'), sum('waiting'), sum('dead')];
  const machine = {
    applications: moved.map(({ application, now }) => ({ client_id: application.clientId, now: isoTimestamp(now) })),
    refreshes,
    events,
    ...(options.deliveries ? { deliveries: { attempts, delivered, waiting, dead } } : {}),
  };
  print(options, machine, [
    ...moved.map(({ application, now }) => `For "${application.name}" it is now ${isoTimestamp(now)}.`),
    `${counted(refreshes, 'refresh', 'refreshes')} and ${counted(events, 'event', 'events')} on the way: see npx pontage event list`,
    ...(options.deliveries
      ? [`${counted(attempts, 'attempt', 'attempts')}: ${delivered} delivered, ${waiting} waiting for another one, ${dead} dead`]
      : []),
  ]);
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

async function pickSandboxes(storage: Storage, name: string | undefined): Promise<Application[]> {
  if (name !== undefined) return [await pickApplication(storage, name)];
  const sandboxes = (await listApplications(storage)).filter(({ environment }) => environment === 'sandbox');
  if (sandboxes.length > 0) return sandboxes;
  throw new OperatorError('There is no sandbox application: npx pontage app create --name NAME --environment sandbox');
}
