/** Who calls the management API: an application with its two headers, which sees its own rows and nobody else's. */
import type { Context } from 'hono';
import { type Application, applicationNow } from '../../access/applications.ts';
import { createRateLimit, MANAGEMENT_LIMIT, UNAUTHENTICATED_LIMIT } from '../../access/limits.ts';
import { type CallerLimits, identifyApplication } from '../edge/callers.ts';
import type { Services } from './services.ts';

export type Call = {
  c: Context;
  services: Services;
  application: Application;
  /** Real time: events, attempts and replays carry it; epoch milliseconds. */
  realNow: number;
  /** The application's clock, for what belongs to its items. */
  now: number;
};

export type Route = { method: 'GET' | 'POST' | 'PATCH' | 'DELETE'; path: string; answer(call: Call): Promise<Response> };

export function createLimits(services: Pick<Services, 'clock'>): CallerLimits {
  return {
    application: createRateLimit(MANAGEMENT_LIMIT, services.clock),
    unauthenticated: createRateLimit(UNAUTHENTICATED_LIMIT, services.clock),
  };
}

export async function answerRoute(route: Route, c: Context, services: Services, limits: CallerLimits): Promise<Response> {
  const application = await identifyApplication(c, services, limits);
  const realNow = services.clock.now();
  return route.answer({ c, services, application, realNow, now: applicationNow(application, realNow) });
}
