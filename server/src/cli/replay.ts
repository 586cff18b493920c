import type { Command } from 'commander';
import { isoTimestamp } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { type Progress, progressOf, progressOfAll } from '../delivery/replay/progress.ts';
import {
  createReplay,
  findReplay,
  listReplays,
  moveReplay,
  REPLAY_RATE_PER_S_DEFAULT,
  REPLAY_RATE_PER_S_MAX,
  REPLAY_RATE_PER_S_MIN,
  REPLAYS_OPEN_MAX,
  type Replay,
  type ReplayFilter,
} from '../delivery/replay/replays.ts';
import { countSelected, READS_FOR_DRY_RUN_MAX } from '../delivery/replay/selection.ts';
import { findEndpoint } from '../endpoints/endpoints.ts';
import { SUBSCRIBABLE_TYPES } from '../events/catalogue.ts';
import type { Services } from '../services.ts';
import { span } from './attempt.ts';
import { describe, pickApplication, print, table, withServices } from './command.ts';

const LISTED_MAX = 50;
type Json = { json?: boolean };
type StartOptions = Json & {
  webhook: string;
  dead?: boolean;
  since?: string;
  until?: string;
  types?: string;
  items?: string;
  outcome?: string;
  rate?: string;
  dryRun?: boolean;
};

export function addReplayCommands(program: Command): void {
  const replay = program.command('replay').description('replays: events of the log sent again');

  describe(replay, 'start', 'send events again', 'replay start --webhook wh_... --since 2h --outcome failed --dry-run')
    .requiredOption('--webhook <id>', 'to this webhook, also a new one')
    .option('--dead', 'all that were given up for it')
    .option('--since <when>', 'events from then on: a date and time, or how long ago (2h)')
    .option('--until <when>', 'events before then')
    .option('--types <types>', 'comma-separated kinds of events')
    .option('--items <ids>', 'comma-separated items')
    .option('--outcome <outcome>', 'delivered or failed: what became of them for this webhook so far')
    .option('--rate <number>', `per second; ${REPLAY_RATE_PER_S_DEFAULT} when absent`)
    .option('--dry-run', 'only say how many, as far as 200,000 events are read')
    .action((options: StartOptions) =>
      withServices((services) => {
        const filter = filterOf(options, services.clock.now());
        return begin(services, options, { webhookId: options.webhook, filter, ratePerS: rateOf(options.rate) });
      }),
    );

  describe(replay, 'list', 'list the newest replays', 'replay list --app CLIENT_ID')
    .option('--app <client-id>', 'of this application')
    .action((options: Json & { app?: string }) =>
      withServices(async ({ storage }) => {
        const { id: applicationId } = await pickApplication(storage, options.app);
        const replays = await listReplays(storage, { applicationId, after: null, limit: LISTED_MAX });
        const progress = await progressOfAll(storage, replays);
        const rows = replays.map((row) => {
          const { delivered, failed } = progress.get(row.id)!;
          const count = `${delivered}/${totalOf(row)}`;
          return [row.id, row.state, row.endpointId, row.filter.kind, count, String(failed), isoTimestamp(row.createdAt)];
        });
        const titles = ['ID', 'STATE', 'WEBHOOK', 'KIND', 'DELIVERED', 'FAILED', 'CREATED'];
        print(
          options,
          replays.map((row) => shown(row, progress.get(row.id)!)),
          rows.length === 0 ? ['There are no replays.'] : table(titles, rows),
        );
      }),
    );

  describe(replay, 'show <id>', 'show how far a replay is', 'replay show rpl_...').action((id: string, options: Json) =>
    withServices(async ({ storage }) => {
      const found = await existing(storage, id);
      const progress = await progressOf(storage, found);
      print(options, shown(found, progress), lines(found, progress));
    }),
  );

  for (const [move, done, summary] of [
    ['pause', 'paused', 'pause a replay'],
    ['resume', 'running', 'go on with a paused replay'],
    ['cancel', 'cancelled', 'end a replay'],
  ] as const) {
    describe(replay, `${move} <id>`, summary, `replay ${move} rpl_...`).action((id: string, options: Json) =>
      withServices(async ({ storage, clock }) => {
        const { state } = await existing(storage, id);
        if (!(await moveReplay(storage, id, move, clock.now())))
          throw new OperatorError(`Replay ${id} is ${state}: it cannot ${move} now.`);
        print(options, { id, state: done }, [`Replay ${id} is ${done}.`]);
      }),
    );
  }
}

/** Makes the replay, or only counts, and prints what there is to say. */
export async function begin(
  { storage, clock }: Services,
  options: Json & { dryRun?: boolean },
  { webhookId, filter, ratePerS }: { webhookId: string; filter: ReplayFilter; ratePerS: number | null },
): Promise<void> {
  const endpoint = await findEndpoint(storage, webhookId);
  if (!endpoint) throw new OperatorError(`There is no webhook ${webhookId}: see npx pontage webhook list`);
  const asked = { applicationId: endpoint.applicationId, endpointId: endpoint.id, filter };
  if (options.dryRun) {
    const counted = await countSelected(storage, asked, READS_FOR_DRY_RUN_MAX);
    const machine = { dry_run: true, total: counted.total, at_least: counted.atLeast };
    return print(options, machine, [`${eventsOf(counted)} would be sent to ${webhookId}.`]);
  }
  const { total, atLeast, ranges } = await countSelected(storage, asked);
  if (total === 0 && filter.kind === 'one') throw new OperatorError('This event cannot be sent to this webhook.');
  const made = await createReplay(storage, { ...asked, ratePerS, total, atLeast }, ranges, clock.now());
  if (!made) throw new OperatorError(`An application has at most ${REPLAYS_OPEN_MAX} replays that run or are paused: cancel one first.`);
  print(options, shown(made, await progressOf(storage, made)), [
    total === 0
      ? `Replay ${made.id} has nothing to send.`
      : `Replay ${made.id} sends ${eventsOf(made)} to ${webhookId}, if a server is running. How far it is: npx pontage replay show ${made.id}`,
  ]);
}

function filterOf(options: StartOptions, now: number): ReplayFilter {
  const { dead, types, items, outcome } = options;
  const { since = null, until = null } = span(options, now);
  const hasRange = since !== null || until !== null || types !== undefined || items !== undefined || outcome !== undefined;
  if (dead && hasRange) throw new OperatorError('--dead takes no other filter.', 2);
  if (dead) return { kind: 'dead' };
  if (!hasRange) throw new OperatorError('Say what to send again: --dead, or a range with --since.', 2);
  const known: readonly string[] = SUBSCRIBABLE_TYPES;
  const kinds = types?.split(',').map((type) => type.trim()) ?? null;
  const unknown = kinds?.find((type) => !known.includes(type));
  if (unknown !== undefined) throw new OperatorError(`There is no event type "${unknown}": choose of ${known.join(', ')}.`, 2);
  const itemIds = items?.split(',').map(Number) ?? null;
  if (itemIds?.some((id) => !Number.isSafeInteger(id) || id < 1))
    throw new OperatorError('--items must be ids of items, separated by commas.', 2);
  if (outcome !== undefined && outcome !== 'delivered' && outcome !== 'failed')
    throw new OperatorError('--outcome must be delivered or failed.', 2);
  return { kind: 'range', since, until, types: kinds, itemIds, outcome: outcome ?? null };
}

function rateOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const rate = Number(text);
  if (rate >= REPLAY_RATE_PER_S_MIN && rate <= REPLAY_RATE_PER_S_MAX) return rate;
  throw new OperatorError(`--rate must be a number from ${REPLAY_RATE_PER_S_MIN} to ${REPLAY_RATE_PER_S_MAX}.`, 2);
}

async function existing(storage: Services['storage'], id: string): Promise<Replay> {
  const replay = await findReplay(storage, id);
  if (!replay) throw new OperatorError(`There is no replay ${id}: see npx pontage replay list`);
  return replay;
}

function shown(replay: Replay, progress: Progress): object {
  return {
    id: replay.id,
    webhook_id: replay.endpointId,
    filter: replay.filter,
    state: replay.state,
    rate_per_s: replay.ratePerS,
    total: replay.total,
    at_least: replay.atLeast,
    progress,
    created_at: isoTimestamp(replay.createdAt),
    finished_at: replay.finishedAt === null ? null : isoTimestamp(replay.finishedAt),
  };
}

/** What is not counted to its end is said as far as it was. */
const totalOf = ({ total, atLeast }: Pick<Replay, 'total' | 'atLeast'>) => (total === null ? `${atLeast} or more` : String(total));

const eventsOf = (counted: Pick<Replay, 'total' | 'atLeast'>) => (counted.total === 1 ? '1 event' : `${totalOf(counted)} events`);

function lines(replay: Replay, { sent, delivered, failed, retrying }: Progress): string[] {
  return [
    `Replay ${replay.id} to ${replay.endpointId} is ${replay.state}: ${sent} of ${totalOf(replay)} sent, at most ${replay.ratePerS} per second`,
    `  ${delivered} delivered, ${failed} given up, ${retrying} waiting for another attempt`,
  ];
}
