/** Pulling: the same events as the webhooks', with the same ids and bodies, for whoever prefers to ask. */
import { z } from 'zod';
import { SECOND_MS } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { SUBSCRIBABLE_TYPES } from '../../events/catalogue.ts';
import { isExpired, type Place, placeOfNow, placeOfOldest, readPage } from '../../events/follow.ts';
import { pageQuery } from '../edge/cursors.ts';
import { readQuery } from '../edge/requests.ts';
import { jsonText } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';
import { showEvent } from './events.ts';
import { decodePlace, encodePlace } from './place.ts';

/** As long as proxies keep a silent request open. */
const WAIT_MAX_S = 30;
/** Requests that wait on this node: each holds a connection and some 10 KB. */
export const WAITING_MAX = 200;
/** So that one application cannot take all of them. */
export const WAITING_OF_APPLICATION_MAX = 20;

export const eventTypes = z.string().transform((text, context) => {
  const types = text.split(',').map((type) => type.trim());
  const known: readonly string[] = SUBSCRIBABLE_TYPES;
  const unknown = types.find((type) => !known.includes(type));
  if (unknown !== undefined)
    context.addIssue({ code: 'custom', message: `there is no event type of this name: choose of ${known.join(', ')}` });
  return new Set(types);
});

const pullQuery = z.strictObject({
  ...pageQuery,
  types: eventTypes.optional(),
  wait: z
    .string()
    .regex(/^\d{1,2}$/, `must be a whole number of seconds from 0 to ${WAIT_MAX_S}`)
    .transform(Number)
    .refine((seconds) => seconds <= WAIT_MAX_S, `must be a whole number of seconds from 0 to ${WAIT_MAX_S}`)
    .default(0),
});

async function pull({ c, services, application }: Call): Promise<Response> {
  const { storage, arrivals } = services;
  const query = readQuery(c, pullQuery);
  const signal = c.req.raw.signal;
  const request = { applicationId: application.id, types: query.types ?? null, limit: query.limit };
  // Ends when the time is over, also where events of other kinds come again and again.
  const waitUntil = services.clock.now() + query.wait * SECOND_MS;
  let place = await placeOf(query.after);
  for (;;) {
    const page = await readPage(storage, { ...request, place });
    if (!page) throw new Refusal('invalid_cursor', 'The position in `after` is beyond the log: it was given by another database');
    // After the page: what retention took while it was read is found too.
    if (await isExpired(storage, place)) throw new Refusal('events_expired');
    const timeoutMs = waitUntil - services.clock.now();
    if (page.events.length > 0 || page.more || timeoutMs <= 0) return answer(page.events.map(showEvent), page.next, page.more);
    checkRoom();
    const arrived = await arrivals.wait(application.id, page.next.seqs, { timeoutMs, signal });
    if (!arrived) return answer([], page.next, false);
    place = page.next;
  }

  async function placeOf(after: string | undefined): Promise<Place> {
    if (after === undefined) return placeOfOldest(storage);
    if (after === 'now') return placeOfNow(storage);
    const place = decodePlace(application.id, after);
    if (!place)
      throw new Refusal('invalid_cursor', 'The position in `after` is invalid: give the last `next` as it was given to this application');
    return place;
  }

  function answer(events: readonly string[], next: Place, more: boolean): Response {
    return jsonText(`{"events":[${events.join(',')}],"next":"${encodePlace(application.id, next)}","has_more":${more}}`);
  }

  function checkRoom(): void {
    if (arrivals.waitingOf(application.id) >= WAITING_OF_APPLICATION_MAX)
      throw new Refusal('too_many_requests', `At most ${WAITING_OF_APPLICATION_MAX} requests of an application wait at once`, {
        'Retry-After': '1',
      });
    if (arrivals.waiting >= WAITING_MAX)
      throw new Refusal('unavailable', 'Too many requests wait here: ask again without `wait`', { 'Retry-After': '1' });
  }
}

export const pullRoutes: readonly Route[] = [{ method: 'GET', path: '/api/v1/events', answer: pull }];
