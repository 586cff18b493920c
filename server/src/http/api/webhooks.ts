/** Webhooks: made, changed, turned off and on, with their health and what they have still to get. */
import { z } from 'zod';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { readCondition } from '../../delivery/attempts/condition.ts';
import {
  createEndpoint,
  deleteEndpoint,
  type Endpoint,
  findEndpoint,
  listEndpoints,
  rotateSecret,
  updateEndpoint,
} from '../../endpoints/endpoints.ts';
import type { EndpointFields, Refused } from '../../endpoints/fields.ts';
import { enableEndpoint } from '../../endpoints/resume.ts';
import { ROTATION_OVERLAP_MS, ROTATION_OVERLAP_MS_MAX } from '../../endpoints/secrets.ts';
import { appendTestEvent } from '../../events/append.ts';
import { EVENT_TYPES } from '../../events/catalogue.ts';
import { readBody } from '../edge/requests.ts';
import { json, noContent } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';
import { showWebhook } from './show-webhook.ts';
import { readFields, webhookChange, wireName } from './webhook-fields.ts';

/** A webhook of the caller's; one of another application does not exist. */
export async function pathWebhook({ c, services, application }: Call): Promise<Endpoint> {
  const endpoint = await findEndpoint(services.storage, c.req.param('id') ?? '');
  if (!endpoint || endpoint.applicationId !== application.id) throw new Refusal('not_found');
  return endpoint;
}

const context = ({ services: { storage, vault, resolve }, realNow }: Call) => ({ storage, vault, resolve, now: realNow });

async function list(call: Call): Promise<Response> {
  const endpoints = await listEndpoints(call.services.storage, call.application.id);
  const webhooks: object[] = [];
  // One by one: what each has still to get is counted, and others have their turn between the counts.
  for (const endpoint of endpoints) webhooks.push(await show(call, endpoint));
  return json({ webhooks });
}

async function one(call: Call): Promise<Response> {
  return json(await show(call, await pathWebhook(call)));
}

async function create(call: Call): Promise<Response> {
  const { url, name, events, ...settings } = readFields(await readBody(call.c, webhookChange));
  if (url === undefined) throw new Refusal('bad_request', 'url: is required');
  const fields: EndpointFields = { name: name ?? 'Webhook', url, events: events ?? EVENT_TYPES, ...settings };
  const created = await createEndpoint(context(call), call.application.id, fields, call.services.policy);
  if (created.outcome === 'invalid') throw refusalOf(created);
  if (created.outcome === 'conflict') throw new Refusal('conflict', created.sentence);
  return json({ ...(await show(call, created.endpoint)), secret: created.secret }, 201);
}

async function change(call: Call): Promise<Response> {
  const { id } = await pathWebhook(call);
  const fields = readFields(await readBody(call.c, webhookChange));
  const updated = await updateEndpoint(context(call), id, fields, call.services.policy);
  if (updated.outcome === 'not_found') throw new Refusal('not_found');
  if (updated.outcome === 'invalid') throw refusalOf(updated);
  return json(await show(call, updated.endpoint));
}

async function remove(call: Call): Promise<Response> {
  const { id } = await pathWebhook(call);
  if (!(await deleteEndpoint(context(call), id))) throw new Refusal('not_found');
  return noContent();
}

const rotateBody = z.strictObject({
  overlap_s: z
    .int()
    .min(0)
    .max(ROTATION_OVERLAP_MS_MAX / 1_000)
    .optional(),
});

async function rotate(call: Call): Promise<Response> {
  const { id } = await pathWebhook(call);
  const { overlap_s: overlapS } = await readBody(call.c, rotateBody);
  const overlapMs = overlapS === undefined ? ROTATION_OVERLAP_MS : overlapS * 1_000;
  const secret = await rotateSecret(context(call), id, overlapMs);
  if (secret === null) throw new Refusal('not_found');
  return json({ id, secret, previous_secret_expires_at: isoTimestamp(call.realNow + overlapMs) });
}

async function sendTest(call: Call): Promise<Response> {
  const { id, enabled } = await pathWebhook(call);
  if (!enabled) throw new Refusal('unprocessable', 'The webhook is off: enable it first');
  const origin = { applicationId: call.application.id, refreshId: null, committedAt: call.realNow, endpointId: id };
  const eventId = await call.services.storage.transaction((tx) => appendTestEvent(tx, origin));
  call.services.onEvents();
  return json({ id, event_id: eventId }, 202);
}

const enableBody = z.strictObject({ from: z.enum(['where_it_stopped', 'now'], 'must be where_it_stopped or now') });

async function enable(call: Call): Promise<Response> {
  const { id } = await pathWebhook(call);
  const { from } = await readBody(call.c, enableBody);
  await enableEndpoint(context(call), id, from === 'now' ? 'now' : 'stopped');
  return one(call);
}

async function disable(call: Call): Promise<Response> {
  const { id } = await pathWebhook(call);
  await readBody(call.c, z.strictObject({}));
  await updateEndpoint(context(call), id, { enabled: false }, call.services.policy);
  return one(call);
}

function refusalOf({ field, sentence }: Refused): Refusal {
  return new Refusal('bad_request', `${wireName(field)}: ${sentence}`);
}

async function show({ services: { storage }, realNow }: Call, endpoint: Endpoint): Promise<object> {
  return showWebhook(endpoint, await readCondition(storage, endpoint, realNow));
}

export const webhookRoutes: readonly Route[] = [
  { method: 'GET', path: '/api/v1/webhooks', answer: list },
  { method: 'POST', path: '/api/v1/webhooks', answer: create },
  { method: 'GET', path: '/api/v1/webhooks/:id', answer: one },
  { method: 'PATCH', path: '/api/v1/webhooks/:id', answer: change },
  { method: 'DELETE', path: '/api/v1/webhooks/:id', answer: remove },
  { method: 'POST', path: '/api/v1/webhooks/:id/rotate-secret', answer: rotate },
  { method: 'POST', path: '/api/v1/webhooks/:id/test', answer: sendTest },
  { method: 'POST', path: '/api/v1/webhooks/:id/enable', answer: enable },
  { method: 'POST', path: '/api/v1/webhooks/:id/disable', answer: disable },
];
