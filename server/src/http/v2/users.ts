/** Users and their access tokens (contract, section 3.1). */
import { z } from 'zod';
import { deleteToken, issueToken } from '../../access/tokens.ts';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { digest } from '../../base/random.ts';
import { hashPassword, passwordMatches } from '../../users/passwords.ts';
import { createUser, findUser, holdUser, listUsers, type NewUser, type User } from '../../users/users.ts';
import { decodeCursor, pageQuery } from '../edge/cursors.ts';
import { pathUuid, readBody, readQuery } from '../edge/requests.ts';
import { erased, json, noContent } from '../edge/responses.ts';
import type { ApplicationCall, Route } from './calls.ts';
import { page, uuidCursor } from './pages.ts';

/** Length of an application's own id of a user: room for any id scheme, and no room for documents. */
const EXTERNAL_USER_ID_MAXIMUM = 255;
/** RFC 5321, section 4.5.3.1.3: a path of 256 octets with its brackets. */
const EMAIL_MAXIMUM = 254;
/** Users read at once where a sandbox deletes all. */
const USERS_PER_BATCH = 100;

const email = z
  .string()
  .max(EMAIL_MAXIMUM, 'is too long')
  .regex(/^[^\s@]+@[^\s@]+$/, 'must be an email address');
const password = z.string().min(6, 'must have 6 to 72 characters').max(72, 'must have 6 to 72 characters');
const externalUserId = z.string().min(1, 'must not be empty').max(EXTERNAL_USER_ID_MAXIMUM, 'is too long');

const newUserBody = z.object({
  email: email.nullish(),
  password: password.nullish(),
  external_user_id: externalUserId.nullish(),
});
const authenticateBody = z.object({
  user_uuid: z.string().nullish(),
  external_user_id: z.string().nullish(),
  email: z.string().nullish(),
  // No lower bound: a short one is wrong, not malformed.
  password: z.string().max(72, 'must have 6 to 72 characters').nullish(),
});
/** A password is accepted and, as the contract notes of the API itself, not compared: the client's credentials decide. */
const deleteBody = z.object({ password: z.string().nullish() });

/** Old-form users show their email, all others the application's own id, null where it gave none. */
function showUser(user: User): object {
  return user.email === null ? { uuid: user.uuid, external_user_id: user.externalUserId } : { uuid: user.uuid, email: user.email };
}

async function create({ c, services, application, realNow }: ApplicationCall): Promise<Response> {
  const body = await readBody(c, newUserBody);
  const identity = await identityOf(body, application.id);
  const user = await services.storage.transaction((tx) => createUser(tx, { applicationId: application.id, identity }, realNow));
  if (!user)
    throw new Refusal(
      'conflict',
      identity.kind === 'email' ? `A user with email ${identity.email} already exists` : 'A user with this external_user_id already exists',
    );
  return json(showUser(user), 201);
}

async function identityOf(body: z.infer<typeof newUserBody>, applicationId: string): Promise<NewUser['identity']> {
  const hasEmail = body.email != null || body.password != null;
  if (hasEmail && body.external_user_id != null) throw new Refusal('bad_request', 'give either external_user_id or email and password');
  if (body.external_user_id != null) return { kind: 'external', externalUserId: body.external_user_id };
  if (!hasEmail) return { kind: 'none' };
  if (body.email == null) throw new Refusal('bad_request', 'email: is required with a password');
  if (body.password == null) throw new Refusal('bad_request', 'password: is required with an email');
  return { kind: 'email', email: body.email, passwordDigest: await hashPassword(body.password, applicationId) };
}

async function list({ c, services, application }: ApplicationCall): Promise<Response> {
  const query = readQuery(c, z.object(pageQuery));
  const after = decodeCursor(uuidCursor, query.after);
  const rows = await listUsers(services.storage, { applicationId: application.id, after, limit: query.limit + 1 });
  return json(page(rows, { path: '/v2/users', limit: query.limit, form: uuidCursor, keyOf: (user) => user.uuid, show: showUser }));
}

async function existing({ c, services, application }: ApplicationCall): Promise<User> {
  const user = await findUser(services.storage, application.id, { userUuid: pathUuid(c) });
  if (!user) throw new Refusal('not_found');
  return user;
}

async function remove(call: ApplicationCall): Promise<Response> {
  await readBody(call.c, deleteBody);
  const user = await existing(call);
  return erased(await call.services.deleteUser(user.uuid));
}

async function removeAll({ services, application }: ApplicationCall): Promise<Response> {
  if (application.environment !== 'sandbox') throw new Refusal('forbidden', 'Only a sandbox application may delete all its users');
  for (;;) {
    const users = await listUsers(services.storage, { applicationId: application.id, after: null, limit: USERS_PER_BATCH });
    if (users.length === 0) return noContent();
    for (const user of users) await services.deleteUser(user.uuid);
  }
}

async function authenticate({ c, services, limits, application, realNow }: ApplicationCall): Promise<Response> {
  const body = await readBody(c, authenticateBody);
  const name = nameOf(body);
  const user = await findUser(services.storage, application.id, name);
  limits.authenticate.take(user?.uuid ?? digest(`${application.id} ${JSON.stringify(name)}`));
  const unknown = 'email' in name ? 'invalid_user_credentials' : 'not_found';
  const matches = !('email' in name) || (await passwordMatches(body.password ?? '', user?.passwordDigest ?? null, application.id));
  if (!user || !matches) throw new Refusal(unknown);
  const owner = { applicationId: application.id, userUuid: user.uuid };
  const issued = await services.storage.transaction(async (tx) =>
    (await holdUser(tx, services.storage, owner.applicationId, owner.userUuid)) ? issueToken(tx, owner, realNow) : null,
  );
  if (!issued) throw new Refusal(unknown);
  return json({ access_token: issued.accessToken, expires_at: isoTimestamp(issued.expiresAt), user: showUser(user) });
}

function nameOf(body: z.infer<typeof authenticateBody>): Parameters<typeof findUser>[2] {
  const given = [body.user_uuid, body.external_user_id, body.email].filter((value) => value != null);
  if (given.length !== 1) throw new Refusal('bad_request', 'give one of user_uuid, external_user_id, or email with password');
  if (body.user_uuid != null) return { userUuid: body.user_uuid.toLowerCase() };
  if (body.external_user_id != null) return { externalUserId: body.external_user_id };
  if (body.password == null) throw new Refusal('bad_request', 'password: is required with an email');
  return { email: body.email! };
}

export const userRoutes: readonly Route[] = [
  { method: 'POST', path: '/v2/users', scope: 'application', answer: create },
  { method: 'GET', path: '/v2/users', scope: 'application', answer: list },
  { method: 'DELETE', path: '/v2/users', scope: 'application', answer: removeAll },
  {
    method: 'GET',
    path: '/v2/users/me/email/confirmation',
    scope: 'user',
    // Nobody confirms an address here; programs wait for `true` before they show Connect.
    answer: async () => json({ name: 'email', is_confirmed: true }),
  },
  { method: 'GET', path: '/v2/users/:uuid', scope: 'application', answer: async (call) => json(showUser(await existing(call))) },
  { method: 'DELETE', path: '/v2/users/:uuid', scope: 'application', answer: remove },
  { method: 'POST', path: '/v2/users/:uuid/delete', scope: 'application', answer: remove },
  { method: 'POST', path: '/v2/authenticate', scope: 'application', answer: authenticate },
  {
    method: 'POST',
    path: '/v2/logout',
    scope: 'user',
    answer: async ({ services, accessToken }) => {
      await services.storage.transaction((tx) => deleteToken(tx, accessToken));
      return noContent();
    },
  },
];
