import type { Command } from 'commander';
import { isoTimestamp } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { attemptsOfEvent, parkedOfEvent } from '../delivery/attempts/read.ts';
import { renderBody } from '../events/catalogue.ts';
import { type LoggedEvent, parseEventId, readEvents, recentEvents } from '../events/log.ts';
import { showAttempt } from '../http/api/attempts.ts';
import { showEvent, showParked } from '../http/api/events.ts';
import { attemptLines, parkedLine } from './attempt.ts';
import { describe, pickApplication, print, table, withServices } from './command.ts';
import { begin } from './replay.ts';

const LIST_DEFAULT = 20;
const LIST_MAX = 1_000;

export function addEventCommands(program: Command): void {
  const event = program.command('event').description('events: what happened, and what became of it');

  describe(event, 'list', 'list the newest events', 'event list --app CLIENT_ID --limit 50')
    .option('--app <client-id>', 'of this application only')
    .option('--limit <count>', `how many, at most ${LIST_MAX}`, String(LIST_DEFAULT))
    .action((options: { app?: string; limit: string; json?: boolean }) =>
      withServices(async ({ storage }) => {
        const limit = Number(options.limit);
        if (!Number.isInteger(limit) || limit < 1 || limit > LIST_MAX)
          throw new OperatorError(`--limit must be a number from 1 to ${LIST_MAX}.`, 2);
        const application = options.app === undefined ? null : await pickApplication(storage, options.app);
        const events = await recentEvents(storage, application?.id ?? null, limit);
        const rows = events.map((row) => [
          row.id,
          isoTimestamp(row.committedAt),
          row.type,
          row.itemId === null ? '-' : String(row.itemId),
          row.accountId === null ? '-' : String(row.accountId),
        ]);
        print(
          options,
          events.map(shown),
          events.length === 0 ? ['There are no events yet.'] : table(['ID', 'COMMITTED', 'TYPE', 'ITEM', 'ACCOUNT'], rows),
        );
      }),
    );

  describe(event, 'show <id>', 'show an event, its body, and each attempt to deliver it', 'event show evt_...').action(
    (id: string, options: { json?: boolean }) =>
      withServices(async ({ storage }) => {
        const place = parseEventId(id);
        const [found] = place ? await readEvents(storage, place.lane, [place.seq]) : [];
        if (!place || !found) throw new OperatorError(`There is no event ${id}: see npx pontage event list`);
        const attempts = await attemptsOfEvent(storage, found);
        const waiting = await parkedOfEvent(storage, found);
        print(options, { ...shown(found), attempts: attempts.map(showAttempt), waiting: waiting.map(showParked) }, [
          `${found.id}  ${found.type}  committed ${isoTimestamp(found.committedAt)}`,
          renderBody(found),
          ...attempts.flatMap(attemptLines).map((line) => `  ${line}`),
          ...waiting.map((row) => `  ${parkedLine(row)}`),
          ...(attempts.length + waiting.length === 0 ? ['  No attempt yet.'] : []),
        ]);
      }),
  );

  describe(event, 'resend <id>', 'send an event again to one webhook', 'event resend evt_... --webhook wh_...')
    .requiredOption('--webhook <id>', 'to this webhook')
    .action((id: string, options: { webhook: string; json?: boolean }) =>
      withServices(async (services) => {
        const place = parseEventId(id);
        const [found] = place ? await readEvents(services.storage, place.lane, [place.seq]) : [];
        if (!found) throw new OperatorError(`There is no event ${id}: see npx pontage event list`);
        const filter = { kind: 'one', lane: found.lane, seq: found.seq } as const;
        await begin(services, options, { webhookId: options.webhook, filter, ratePerS: null });
      }),
    );
}

/** The body as an object, as it stands in the answers of the API. */
const shown = (event: LoggedEvent) => JSON.parse(showEvent(event)) as object;
