/** Who calls: the version, the application and the user of a request, checked in this order before any route runs. */
import type { Context } from 'hono';
import { type Application, applicationNow } from '../../access/applications.ts';
import {
  APPLICATION_LIMIT,
  AUTHENTICATE_LIMIT,
  createRateLimit,
  type RateLimit,
  UNAUTHENTICATED_LIMIT,
  USER_LIMIT,
} from '../../access/limits.ts';
import { findTokenUser } from '../../access/tokens.ts';
import { Refusal } from '../../base/errors.ts';
import { type CallerLimits, identifyApplication } from '../edge/callers.ts';
import { languageOf } from './language.ts';
import type { Language, Services } from './services.ts';

export const API_VERSION = '2021-06-01';

export type ApplicationCall = {
  c: Context;
  services: Services;
  limits: Limits;
  application: Application;
  language: Language;
  /** Real time, for what concerns security; epoch milliseconds. */
  realNow: number;
  /** The application's clock, for what the wire shows. */
  now: number;
};
export type UserCall = ApplicationCall & { userUuid: string; accessToken: string };

export type Route = { method: 'GET' | 'POST' | 'DELETE'; path: string } & (
  | { scope: 'application'; answer(call: ApplicationCall): Promise<Response> }
  | { scope: 'user'; answer(call: UserCall): Promise<Response> }
);

export type Limits = CallerLimits & { user: RateLimit; authenticate: RateLimit };

export function createLimits(services: Pick<Services, 'clock'>): Limits {
  return {
    application: createRateLimit(APPLICATION_LIMIT, services.clock),
    user: createRateLimit(USER_LIMIT, services.clock),
    authenticate: createRateLimit(AUTHENTICATE_LIMIT, services.clock),
    unauthenticated: createRateLimit(UNAUTHENTICATED_LIMIT, services.clock),
  };
}

export async function answerRoute(route: Route, c: Context, services: Services, limits: Limits): Promise<Response> {
  checkVersion(c);
  const application = await identifyApplication(c, services, limits);
  const realNow = services.clock.now();
  const call: ApplicationCall = {
    c,
    services,
    limits,
    application,
    language: languageOf(c),
    realNow,
    now: applicationNow(application, realNow),
  };
  if (route.scope === 'application') return route.answer(call);
  const accessToken = /^Bearer +(\S+)$/i.exec(c.req.header('Authorization') ?? '')?.[1] ?? '';
  const userUuid = await findTokenUser(services.storage, application.id, accessToken, realNow);
  if (userUuid === null) throw new Refusal('invalid_access_token', undefined, { 'WWW-Authenticate': 'Bearer' });
  limits.user.take(userUuid);
  return route.answer({ ...call, userUuid, accessToken });
}

/** The header's old name still works (contract, section 2.1). */
function checkVersion(c: Context): void {
  const version = c.req.header('Bridge-Version') ?? c.req.header('Bankin-Version');
  if (version !== API_VERSION) throw new Refusal('invalid_version_header');
}
