/** Every counted row, in the order of the log: what the counts of all `item.account.updated` are made of, none skipped and none twice. */
import { z } from 'zod';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { isExpired, type Place, placeOfNow, placeOfOldest, readPage } from '../../events/follow.ts';
import type { LoggedEvent } from '../../events/log.ts';
import { type ChangeRange, changesOfRanges, type KeptChange } from '../../transactions/changes.ts';
import { pageQuery } from '../edge/cursors.ts';
import { readQuery } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';
import { decodePlace, encodePlace } from './place.ts';
import { showChange } from './refreshes.ts';

const changesQuery = z.strictObject(pageQuery);
const COUNTING = new Set(['item.account.updated']);

/** `begun`: of the next event of the lane whose turn it is, how many entries were given already. */
type Position = { place: Place; begun: { seq: number; n: number } | null };

function encodePosition(applicationId: string, { place, begun }: Position): string {
  const text = encodePlace(applicationId, place);
  return begun === null ? text : `${text}.${begun.seq}.${begun.n}`;
}

function decodePosition(applicationId: string, text: string): Position | null {
  const match = /^([\w-]+)(?:\.(\d{1,16})\.(\d{1,9}))?$/.exec(text);
  const place = match && decodePlace(applicationId, match[1]!);
  return place && { place, begun: match[2] === undefined ? null : { seq: Number(match[2]), n: Number(match[3]) } };
}

/** How many rows an event counts: its own three numbers. */
function countOf(event: LoggedEvent): number {
  const content = JSON.parse(event.content) as Record<string, number>;
  return (content.nb_new_transactions ?? 0) + (content.nb_updated_transactions ?? 0) + (content.nb_deleted_transactions ?? 0);
}

type Taken = { event: LoggedEvent; range: ChangeRange };

/** As many entries of these events as fit, from where the page before ended; and where the next one begins. */
export function take(events: readonly LoggedEvent[], from: Position, next: Place, limit: number): { taken: Taken[]; position: Position } {
  const taken: Taken[] = [];
  const seqs = [...from.place.seqs];
  let room = limit;
  for (const [index, event] of events.entries()) {
    const { lane, seq } = event;
    const resumed = index === 0 && lane === from.place.turn && seq === from.begun?.seq;
    const after = resumed ? from.begun!.n : 0;
    const count = countOf(event);
    const through = Math.min(count, after + room);
    if (through > after)
      taken.push({ event, range: { refreshId: event.refreshId ?? '', accountId: event.accountId ?? 0, after, through } });
    room -= Math.max(0, through - after);
    // The next page begins with this event: what was read of the lanes before it is settled, and nothing of its own.
    if (through < count) return { taken, position: { place: { ...from.place, seqs, turn: lane }, begun: { seq, n: through } } };
    seqs[lane] = seq;
  }
  return { taken, position: { place: next, begun: null } };
}

async function list({ c, services, application }: Call): Promise<Response> {
  const { storage } = services;
  const query = readQuery(c, changesQuery);
  const from = await positionOf(query.after);
  const page = await readPage(storage, { applicationId: application.id, place: from.place, types: COUNTING, limit: query.limit });
  if (!page) throw new Refusal('invalid_cursor', 'The position in `after` is beyond the log: it was given by another database');
  // After the page: what retention took while it was read is found too.
  if (await isExpired(storage, from.place)) throw new Refusal('events_expired');
  const { taken, position } = take(page.events, from, page.next, query.limit);
  const found = await changesOfRanges(
    storage,
    taken.map(({ range }) => range),
  );
  return json({
    changes: taken.flatMap(({ event }, at) => found[at]!.map((change) => showEntry(event, change))),
    next: encodePosition(application.id, position),
    has_more: page.more || position.begun !== null,
  });

  async function positionOf(after: string | undefined): Promise<Position> {
    if (after === undefined) return { place: await placeOfOldest(storage), begun: null };
    if (after === 'now') return { place: await placeOfNow(storage), begun: null };
    const position = decodePosition(application.id, after);
    if (!position)
      throw new Refusal('invalid_cursor', 'The position in `after` is invalid: give the last `next` as it was given to this application');
    return position;
  }
}

function showEntry(event: LoggedEvent, change: KeptChange): object {
  return {
    event_id: event.id,
    refresh_id: event.refreshId,
    user_uuid: event.userUuid,
    item_id: event.itemId,
    updated_at: isoTimestamp(event.timestamp),
    ...showChange(change),
  };
}

export const changeRoutes: readonly Route[] = [{ method: 'GET', path: '/api/v1/changes', answer: list }];
