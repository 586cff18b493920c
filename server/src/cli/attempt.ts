import type { Command } from 'commander';
import { isoTimestamp, parseDuration } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { type AttemptFilter, isEndpointOf, listAttempts, listedEndpoints } from '../delivery/attempts/list.ts';
import type { Attempt, Parked } from '../delivery/attempts/read.ts';
import { SUBSCRIBABLE_TYPES, TEST_EVENT } from '../events/catalogue.ts';
import { eventId } from '../events/log.ts';
import { showAttempt } from '../http/api/attempts.ts';
import { describe, pickApplication, print, withServices } from './command.ts';

const LIST_DEFAULT = 20;
const LIST_MAX = 1_000;

type ListOptions = {
  app?: string;
  webhook?: string;
  item?: string;
  type?: string;
  outcome?: string;
  status?: string;
  since?: string;
  until?: string;
  limit: string;
  json?: boolean;
};

export function addAttemptCommands(program: Command): void {
  const attempt = program.command('attempt').description('attempts: each time an event was sent to a webhook');

  describe(attempt, 'list', 'list the newest attempts', 'attempt list --outcome failed --since 2h')
    .option('--app <client-id>', 'of this application')
    .option('--webhook <id>', 'to this webhook')
    .option('--item <id>', 'of events of this item')
    .option('--type <type>', 'of events of this kind')
    .option('--outcome <outcome>', 'delivered or failed')
    .option('--status <code>', 'with this status of HTTP')
    .option('--since <when>', 'from then on: a date and time, or how long ago (2h)')
    .option('--until <when>', 'before then')
    .option('--limit <count>', `how many, at most ${LIST_MAX}`, String(LIST_DEFAULT))
    .action((options: ListOptions) =>
      withServices(async ({ storage, clock }) => {
        const limit = wholeNumber('--limit', options.limit, LIST_MAX)!;
        const filter = filterOf(options, clock.now());
        const application = await pickApplication(storage, options.app);
        const { webhook } = options;
        if (webhook !== undefined && !(await isEndpointOf(storage, application.id, webhook)))
          throw new OperatorError(`There is no webhook ${webhook}: see npx pontage webhook list`);
        const endpointIds = webhook === undefined ? await listedEndpoints(storage, application.id) : [webhook];
        const attempts: Attempt[] = [];
        const wanted = { applicationId: application.id, endpointIds, filter };
        let page = await listAttempts(storage, { ...wanted, after: null, limit });
        attempts.push(...page.attempts);
        // The pages of an item are bounded steps of reading: here the whole list is wanted, however far back it goes.
        while (page.next !== null && attempts.length < limit) {
          page = await listAttempts(storage, { ...wanted, after: page.next, limit: limit - attempts.length });
          attempts.push(...page.attempts);
        }
        print(options, attempts.map(showAttempt), attempts.length === 0 ? ['There are no such attempts.'] : attempts.flatMap(attemptLines));
      }),
    );
}

function filterOf(options: ListOptions, now: number): AttemptFilter {
  const { type, outcome } = options;
  if (outcome !== undefined && outcome !== 'delivered' && outcome !== 'failed')
    throw new OperatorError('--outcome must be delivered or failed.', 2);
  const types: readonly string[] = [...SUBSCRIBABLE_TYPES, TEST_EVENT];
  if (type !== undefined && !types.includes(type))
    throw new OperatorError(`There is no event type "${type}": choose of ${types.join(', ')}.`, 2);
  return {
    type,
    outcome,
    itemId: wholeNumber('--item', options.item, Number.MAX_SAFE_INTEGER),
    status: wholeNumber('--status', options.status, 599),
    ...span(options, now),
  };
}

/** From `since` on and before `until`, as epoch milliseconds. */
export function span(options: { since?: string; until?: string }, now: number): { since: number | undefined; until: number | undefined } {
  const since = moment('--since', options.since, now);
  const until = moment('--until', options.until, now);
  if (since !== undefined && until !== undefined && since >= until) throw new OperatorError('--until must be later than --since.', 2);
  return { since, until };
}

export function wholeNumber(option: string, text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1 || value > max) throw new OperatorError(`${option} must be a number from 1 to ${max}.`, 2);
  return value;
}

/** `2h` is two hours ago. */
function moment(option: string, text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const agoMs = parseDuration(text);
  const at = agoMs === null ? Date.parse(text) : now - agoMs;
  if (Number.isNaN(at))
    throw new OperatorError(`${option} must be a date and time (2026-07-26T09:00:00Z) or how long ago (30m, 2h, 1d).`, 2);
  return at;
}

/** One line for what happened, and one below it where something should be done. */
export function attemptLines(attempt: Attempt): string[] {
  const { lane, seq, type, endpointId, source, n, at, status, delivered } = attempt;
  const outcome = delivered ? 'delivered' : `failed (${attempt.failure ?? 'unknown'})`;
  const what = `${isoTimestamp(at)}  ${eventId(lane, seq)}  ${type}  to ${endpointId}  ${source} ${n}`;
  return [
    `${what}  ${status ?? 'no answer'}  ${outcome}  ${timings(attempt)}`,
    ...(attempt.message === null ? [] : [`    ${attempt.message}`]),
  ];
}

/** `12 ms (dns 1, connect 3, tls 5, first byte 11)` */
function timings({ durationMs, dnsMs, connectMs, tlsMs, firstByteMs }: Attempt): string {
  const steps = [
    ['dns', dnsMs],
    ['connect', connectMs],
    ['tls', tlsMs],
    ['first byte', firstByteMs],
  ] as const;
  const known = steps.flatMap(([name, ms]) => (ms === null ? [] : [`${name} ${Math.round(ms)}`]));
  return `${Math.round(durationMs)} ms${known.length === 0 ? '' : ` (${known.join(', ')})`}`;
}

export function parkedLine({ endpointId, replayId, state, attempts, dueAt }: Parked): string {
  const replay = replayId === '' ? '' : ` (${replayId})`;
  const tried = attempts === 0 ? 'not tried yet' : `tried ${attempts} ${attempts === 1 ? 'time' : 'times'}`;
  switch (state) {
    case 'retry':
      return `to ${endpointId}${replay}: ${tried}, ${dueAt === null ? 'waits' : `again at ${isoTimestamp(dueAt)}`}`;
    case 'waiting':
      return `to ${endpointId}${replay}: waits behind an earlier event of its item, or until the webhook is enabled; ${tried}`;
    case 'dead':
      return `to ${endpointId}${replay}: given up, ${tried}; npx pontage event resend sends it again`;
    default:
      return state satisfies never;
  }
}
