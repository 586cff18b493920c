/** Links to the hosted pages (contract, section 3.4). */
import { z } from 'zod';
import type { Application } from '../../access/applications.ts';
import { Refusal } from '../../base/errors.ts';
import { findUserItem } from '../../items/read.ts';
import { idText, readBody, readQuery } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Route, UserCall } from './calls.ts';

/** Longer ones do not survive the address bars they pass through. */
const REDIRECT_URL_MAXIMUM = 2_000;

const redirectUrl = z.string().max(REDIRECT_URL_MAXIMUM, 'is too long').nullish();
const context = z
  .string()
  .max(100, 'must have at most 100 characters')
  .regex(/^[0-9A-Za-z-]*$/, 'must be letters, digits and hyphens')
  .nullish();

const addBody = z.object({
  prefill_email: z.string().nullish(),
  country: z
    .string()
    .regex(/^[A-Za-z]{2}$/, 'must be a country code of two letters')
    .nullish(),
  redirect_url: redirectUrl,
  context,
  bank_id: z.number().int('must be a whole number').positive('must be a whole number').nullish(),
  capabilities: z.union([z.string(), z.array(z.string())]).nullish(),
});
const itemQuery = z.object({ item_id: idText, redirect_url: redirectUrl, context });

/**
 * Where the browser may be sent: the application's own address, which may be one of a mobile application; beside it, in a sandbox
 * any http(s) address, and in production only one with the origin of the application's own, so that a leaked client secret does
 * not turn Connect into an open redirect.
 */
export function allowedRedirect(
  application: Pick<Application, 'environment' | 'redirectUrl'>,
  wanted: string | null | undefined,
): string | null {
  if (wanted == null || wanted === '' || wanted === application.redirectUrl) return application.redirectUrl;
  const url = URL.parse(wanted);
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.username !== '' || url.password !== '')
    throw new Refusal('bad_request', 'redirect_url: must be an http or https address');
  if (application.environment === 'sandbox') return wanted;
  const own = application.redirectUrl === null ? null : URL.parse(application.redirectUrl);
  if (own === null || own.origin !== url.origin)
    throw new Refusal('unprocessable', 'redirect_url: a production application may only use the origin of its configured redirect URL');
  return wanted;
}

/** Leaves out what is not given: an absent field is not a null one. */
function links(application: Application, body: { redirect_url?: string | null | undefined; context?: string | null | undefined }) {
  const redirect = allowedRedirect(application, body.redirect_url);
  return { ...(redirect === null ? {} : { redirectUrl: redirect }), ...(body.context ? { context: body.context } : {}) };
}

async function add({ c, services, application, userUuid, language }: UserCall): Promise<Response> {
  const body = await readBody(c, addBody);
  if (body.bank_id != null && !services.registry.bank(body.bank_id, application.environment)) throw new Refusal('not_found');
  const session = await services.createConnectSession({
    application,
    userUuid,
    purpose: 'add',
    language,
    ...links(application, body),
    ...(body.bank_id == null ? {} : { bankId: body.bank_id }),
    ...(body.country == null ? {} : { country: body.country.toUpperCase() }),
  });
  if (!session) throw new Refusal('not_found');
  return json({ redirect_url: session.url });
}

async function forItem({ c, services, application, userUuid, language }: UserCall, purpose: 'edit' | 'sync'): Promise<Response> {
  const query = readQuery(c, itemQuery);
  const item = await findUserItem(services.storage, userUuid, query.item_id);
  if (!item) throw new Refusal('not_found');
  const session = await services.createConnectSession({
    application,
    userUuid,
    purpose,
    itemId: item.id,
    bankId: item.bankId,
    language,
    ...links(application, query),
  });
  if (!session) throw new Refusal('not_found');
  return json({ redirect_url: session.url });
}

export const connectRoutes: readonly Route[] = [
  { method: 'POST', path: '/v2/connect/items/add', scope: 'user', answer: add },
  { method: 'GET', path: '/v2/connect/items/edit', scope: 'user', answer: (call) => forItem(call, 'edit') },
  { method: 'GET', path: '/v2/connect/items/sync', scope: 'user', answer: (call) => forItem(call, 'sync') },
];
