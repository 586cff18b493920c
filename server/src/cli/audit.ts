import type { Command } from 'commander';
import { HOUR_MS, isoTimestamp, parseDuration } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { type Audit, type AuditedHour, audit } from '../delivery/audit/audit.ts';
import { CLASSES, type Class } from '../delivery/audit/classes.ts';
import { describe, pickApplication, print, table, withServices } from './command.ts';

const SINCE_DEFAULT = '24h';
const TITLES: Record<Class, string> = {
  delivered: 'DELIVERED',
  retry: 'RETRY',
  waiting: 'WAITING',
  dead: 'DEAD',
  lagging: 'LAGGING',
  inFlight: 'IN FLIGHT',
  skipped: 'SKIPPED',
  expired: 'EXPIRED',
  erased: 'ERASED',
};

export function addAuditCommand(program: Command): void {
  describe(program, 'audit', 'prove that every event is delivered, waits, or was given up, and only once', 'audit --since 7d')
    .option('--since <duration>', 'events committed since then, from the full hour on', SINCE_DEFAULT)
    .option('--app <client-id>', 'of this application only')
    .action((options: { since: string; app?: string; json?: boolean }) =>
      withServices(async ({ storage, clock }) => {
        const sinceMs = parseDuration(options.since);
        if (sinceMs === null) throw new OperatorError('--since must be a duration, e.g. 30m, 24h or 7d.', 2);
        const from = Math.floor((clock.now() - sinceMs) / HOUR_MS) * HOUR_MS;
        const application = options.app === undefined ? null : await pickApplication(storage, options.app);
        const found = await audit(storage, { from, applicationId: application?.id ?? null });
        print(options, shown(found, from), lines(found, from));
        if (!found.balanced) process.exitCode = 1;
      }),
    );
}

function shown({ hours, faults, faultCount, unbalancedHours, balanced }: Audit, from: number): object {
  return {
    from: isoTimestamp(from),
    balanced,
    hours: hours.map(shownHour),
    faults: faults.map(({ eventId, endpointId, classes }) => ({ event_id: eventId, webhook_id: endpointId, classes: classes.map(snake) })),
    fault_count: faultCount,
    unbalanced_hours: unbalancedHours.map(shownHour),
  };
}

function shownHour(row: AuditedHour): object {
  const counts = Object.fromEntries(CLASSES.map((name) => [snake(name), row[name]]));
  return { webhook_id: row.endpointId, hour: isoTimestamp(row.hour * HOUR_MS), matched: row.matched, ...counts };
}

const snake = (name: Class): string => (name === 'inFlight' ? 'in_flight' : name);

/** One row for each endpoint; classes that nobody is in are left out. */
function lines({ hours, faults, faultCount, unbalancedHours, balanced }: Audit, from: number): string[] {
  const sum = (rows: readonly AuditedHour[], name: Class | 'matched') => rows.reduce((total, row) => total + row[name], 0);
  const used = CLASSES.filter((name) => name === 'delivered' || sum(hours, name) > 0);
  const byEndpoint = [...Map.groupBy(hours, ({ endpointId }) => endpointId)];
  const rows = byEndpoint.map(([id, ofEndpoint]) => [id, ...(['matched', ...used] as const).map((name) => String(sum(ofEndpoint, name)))]);
  const since = `since ${isoTimestamp(from)}`;
  return [
    ...(rows.length === 0
      ? [`No webhook had an event ${since}.`]
      : table(['WEBHOOK', 'MATCHED', ...used.map((name) => TITLES[name])], rows)),
    ...faults.map(({ eventId, endpointId, classes }) =>
      classes.length === 0
        ? `${eventId} for ${endpointId} is lost: not delivered, and waits nowhere`
        : `${eventId} for ${endpointId} is counted twice: ${classes.map((name) => TITLES[name].toLowerCase()).join(' and ')}`,
    ),
    ...(faultCount > faults.length ? [`and ${faultCount - faults.length} more`] : []),
    ...unbalancedHours.map(
      ({ endpointId, hour }) => `${endpointId}: the hour ${isoTimestamp(hour * HOUR_MS)} did not balance when it was frozen`,
    ),
    balanced ? `Balanced: every event ${since} is in exactly one place.` : `NOT balanced ${since}.`,
  ];
}
