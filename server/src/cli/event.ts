import type { Command } from 'commander';
import { isoTimestamp } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { renderBody } from '../events/catalogue.ts';
import { type LoggedEvent, parseEventId, readEvents, recentEvents } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import { describe, pickApplication, print, table, withServices } from './command.ts';

const LIST_DEFAULT = 20;
const LIST_MAX = 1_000;

type AttemptRow = {
  endpoint_id: string;
  source: string;
  n: number;
  at: number;
  delivered: number;
  status: number | null;
  duration_ms: number;
  failure: string | null;
  message: string | null;
};
type ParkedRow = { endpoint_id: string; state: string; attempts: number; due_at: number | null };

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
        const attempts = await storage.all<AttemptRow>(sql`
        select endpoint_id, source, n, at, delivered, status, duration_ms, failure, message from attempts
        where lane = ${place.lane} and seq = ${place.seq} order by at, endpoint_id, n`);
        const waiting = await storage.all<ParkedRow>(
          sql`select endpoint_id, state, attempts, due_at from parked where lane = ${place.lane} and seq = ${place.seq} order by endpoint_id`,
        );
        print(options, { ...shown(found), attempts: attempts.map(shownAttempt), waiting: waiting.map(shownParked) }, [
          `${found.id}  ${found.type}  committed ${isoTimestamp(found.committedAt)}`,
          renderBody(found),
          ...attempts.map(attemptLine),
          ...waiting.map(
            (row) => `  ${row.endpoint_id}  ${row.state}${row.due_at === null ? '' : `, next attempt ${isoTimestamp(row.due_at)}`}`,
          ),
          ...(attempts.length + waiting.length === 0 ? ['  No attempt yet.'] : []),
        ]);
      }),
  );
}

function shown(event: LoggedEvent): object {
  return {
    id: event.id,
    type: event.type,
    committed_at: isoTimestamp(event.committedAt),
    user_uuid: event.userUuid,
    item_id: event.itemId,
    account_id: event.accountId,
    body: renderBody(event),
  };
}

function shownAttempt(row: AttemptRow): object {
  return {
    webhook_id: row.endpoint_id,
    source: row.source,
    n: row.n,
    at: isoTimestamp(row.at),
    delivered: row.delivered === 1,
    status: row.status,
    duration_ms: row.duration_ms,
    failure: row.failure,
    message: row.message,
  };
}

function shownParked(row: ParkedRow): object {
  return {
    webhook_id: row.endpoint_id,
    state: row.state,
    attempts: row.attempts,
    due_at: row.due_at === null ? null : isoTimestamp(row.due_at),
  };
}

function attemptLine(row: AttemptRow): string {
  const outcome = row.delivered === 1 ? 'delivered' : `failed: ${row.message ?? row.failure ?? 'unknown'}`;
  return `  ${row.endpoint_id}  ${row.source} ${row.n}  ${isoTimestamp(row.at)}  ${row.status ?? '-'}  ${Math.round(row.duration_ms)} ms  ${outcome}`;
}
