/** The management API: what became of events, and what to do about it. Ours to describe (docs/management-api.md). */
import { Hono } from 'hono';
import { compress } from 'hono/compress';
import { standardHeaders } from '../edge/responses.ts';
import { mountTable } from '../edge/table.ts';
import { attemptRoutes } from './attempts.ts';
import { breakerRoutes } from './breakers.ts';
import { answerRoute, createLimits, type Route } from './calls.ts';
import { changeRoutes } from './changes.ts';
import { deliveryRoutes } from './deliveries.ts';
import { erasureRoutes } from './erasures.ts';
import { eventRoutes } from './events.ts';
import { pullRoutes } from './pull.ts';
import { reconcileRoutes } from './reconcile.ts';
import { refreshRoutes } from './refreshes.ts';
import { replayRoutes } from './replays.ts';
import { sandboxRoutes } from './sandbox.ts';
import { scheduleRoutes } from './schedule.ts';
import type { Services } from './services.ts';
import { webhookRoutes } from './webhooks.ts';

/** Fixed paths stand before those with a parameter in the same place. */
export const ROUTES: readonly Route[] = [
  ...pullRoutes,
  ...eventRoutes,
  ...erasureRoutes,
  ...attemptRoutes,
  ...webhookRoutes,
  ...deliveryRoutes,
  ...refreshRoutes,
  ...changeRoutes,
  ...reconcileRoutes,
  ...breakerRoutes,
  ...scheduleRoutes,
  ...sandboxRoutes,
  ...replayRoutes,
];

/** Answers every path under `/api/v1`; mount it with `app.route('/', createApi(services))` or call its `fetch`. */
export function createApi(services: Services): Hono {
  const app = new Hono();
  const limits = createLimits(services);
  app.use('/api/v1/*', compress({ encoding: 'gzip' }), standardHeaders(services.publicUrl));
  mountTable(app, ROUTES, { ...services, prefix: '/api/v1', answer: (route, c) => answerRoute(route, c, services, limits) });
  return app;
}
