/** Events, and what became of each: its attempts, and what still waits. */
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { attemptsOfEvent, type Parked, parkedOfEvent } from '../../delivery/attempts/read.ts';
import { renderBody } from '../../events/catalogue.ts';
import { type LoggedEvent, parseEventId, readEvents } from '../../events/log.ts';
import { jsonText } from '../edge/responses.ts';
import { showAttempt } from './attempts.ts';
import type { Call, Route } from './calls.ts';

/** An event of the caller's; one of another application, or one that retention took, does not exist. */
export async function pathEvent({ c, services, application }: Call): Promise<LoggedEvent> {
  const place = parseEventId(c.req.param('id') ?? '');
  const [event] = place ? await readEvents(services.storage, place.lane, [place.seq]) : [];
  if (!event || event.applicationId !== application.id) throw new Refusal('not_found');
  return event;
}

/** As text, so that `body` has the very bytes that a webhook carries. */
export function showEvent(event: LoggedEvent): string {
  const named = JSON.stringify({
    id: event.id,
    type: event.type,
    committed_at: isoTimestamp(event.committedAt),
    user_uuid: event.userUuid,
    item_id: event.itemId,
    account_id: event.accountId,
  });
  return `${named.slice(0, -1)},"body":${renderBody(event)}}`;
}

export function showParked(parked: Parked): object {
  return {
    webhook_id: parked.endpointId,
    replay_id: parked.replayId === '' ? null : parked.replayId,
    ...showStanding(parked),
  };
}

export function showStanding({ state, attempts, dueAt, parkedAt }: Pick<Parked, 'state' | 'attempts' | 'dueAt' | 'parkedAt'>): object {
  return {
    state,
    attempts,
    next_attempt_at: dueAt === null ? null : isoTimestamp(dueAt),
    since: isoTimestamp(parkedAt),
  };
}

async function one(call: Call): Promise<Response> {
  const event = await pathEvent(call);
  const [attempts, parked] = await Promise.all([
    attemptsOfEvent(call.services.storage, event),
    parkedOfEvent(call.services.storage, event),
  ]);
  const fate = JSON.stringify({ attempts: attempts.map(showAttempt), waiting: parked.map(showParked) });
  return jsonText(`${showEvent(event).slice(0, -1)},${fate.slice(1)}`);
}

export const eventRoutes: readonly Route[] = [{ method: 'GET', path: '/api/v1/events/:id', answer: one }];
