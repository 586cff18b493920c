/** What a webhook has still to get, or was given up for it: delivery by delivery, where its backlog only counts. */
import { z } from 'zod';
import { listDeliveries, type ParkedDelivery, type Place } from '../../delivery/attempts/deliveries.ts';
import { PARKED_STATES } from '../../delivery/attempts/read.ts';
import { eventId, LANES } from '../../events/log.ts';
import { type CursorForm, decodeCursor, encodeCursor, pageQuery } from '../edge/cursors.ts';
import { readQuery } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';
import { showStanding } from './events.ts';
import { pathWebhook } from './webhooks.ts';

const placeCursor: CursorForm<Place> = {
  write: ({ lane, seq }) => `${lane}_${seq}`,
  read: (text) => {
    const match = /^(\d{1,2})_(\d{1,15})$/.exec(text);
    return match && Number(match[1]) < LANES ? { lane: Number(match[1]), seq: Number(match[2]) } : null;
  },
};

const deliveriesQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(PARKED_STATES, `must be ${PARKED_STATES.join(', ')}`).default('dead'),
});

async function list(call: Call): Promise<Response> {
  const { id: endpointId } = await pathWebhook(call);
  const { state, limit, after } = readQuery(call.c, deliveriesQuery);
  const request = { endpointId, state, after: decodeCursor(placeCursor, after), limit };
  const { deliveries, next } = await listDeliveries(call.services.storage, request);
  return json({ deliveries: deliveries.map(showDelivery), next: next === null ? null : encodeCursor(placeCursor, next) });
}

export function showDelivery(delivery: ParkedDelivery): object {
  const { lane, seq, type, itemId } = delivery;
  return { event_id: eventId(lane, seq), type, item_id: itemId, ...showStanding(delivery) };
}

export const deliveryRoutes: readonly Route[] = [{ method: 'GET', path: '/api/v1/webhooks/:id/deliveries', answer: list }];
