import type { Command } from 'commander';
import { isoTimestamp } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { type DeliveryPage, listDeliveries, type ParkedDelivery, type Place } from '../delivery/attempts/deliveries.ts';
import { PARKED_STATES, type Parked } from '../delivery/attempts/read.ts';
import { findEndpoint } from '../endpoints/endpoints.ts';
import { eventId } from '../events/log.ts';
import { showDelivery } from '../http/api/deliveries.ts';
import { wholeNumber } from './attempt.ts';
import { describe, print, table, withServices } from './command.ts';

const LIST_DEFAULT = 20;
const LIST_MAX = 1_000;
const NONE: Readonly<Record<Parked['state'], string>> = {
  dead: 'Nothing was given up',
  retry: 'Nothing waits for another attempt',
  waiting: 'Nothing waits behind an earlier event',
};
type Options = { state: string; limit: string; json?: boolean };

export function addDeliveriesCommand(webhook: Command): void {
  describe(
    webhook,
    'deliveries <id>',
    'list what was given up for a webhook, or waits for it, without the deliveries of replays',
    'webhook deliveries wh_... --state retry',
  )
    .option('--state <state>', `${PARKED_STATES.join(', ')}: given up is dead`, 'dead')
    .option('--limit <count>', `how many, at most ${LIST_MAX}`, String(LIST_DEFAULT))
    .action((id: string, options: Options) =>
      withServices(async ({ storage }) => {
        const state = PARKED_STATES.find((known) => known === options.state);
        if (!state) throw new OperatorError(`--state "${options.state}" must be ${PARKED_STATES.join(', ')}.`, 2);
        const limit = wholeNumber('--limit', options.limit, LIST_MAX)!;
        if (!(await findEndpoint(storage, id))) throw new OperatorError(`There is no webhook ${id}: see npx pontage webhook list`);
        const found: ParkedDelivery[] = [];
        let after: Place | null = null;
        // Where deliveries of replays lie between, a page is short; here so many are wanted, and one that tells whether there are more.
        do {
          const page: DeliveryPage = await listDeliveries(storage, { endpointId: id, state, after, limit: limit + 1 - found.length });
          found.push(...page.deliveries);
          after = page.next;
        } while (after !== null && found.length <= limit);
        const deliveries = found.slice(0, limit);
        print(options, deliveries.map(showDelivery), lines(id, state, deliveries, found.length > limit));
      }),
    );
}

function lines(id: string, state: Parked['state'], deliveries: readonly ParkedDelivery[], hasMore: boolean): string[] {
  if (deliveries.length === 0) return [`${NONE[state]} for webhook ${id}.`];
  const rows = deliveries.map(({ lane, seq, type, itemId, attempts, dueAt, parkedAt }) => [
    ...[eventId(lane, seq), type, itemId === null ? '-' : String(itemId), String(attempts)],
    ...[isoTimestamp(parkedAt), dueAt === null ? '-' : isoTimestamp(dueAt)],
  ]);
  return [
    ...table(['EVENT', 'TYPE', 'ITEM', 'TRIED', 'SINCE', 'AGAIN AT'], rows),
    ...(hasMore ? [`There are more: --limit shows them, npx pontage webhook show ${id} counts them.`] : []),
    ...(state === 'dead' ? [`Why: npx pontage event show EVENT. Again: npx pontage replay start --webhook ${id} --dead`] : []),
  ];
}
