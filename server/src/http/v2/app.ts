/** The REST API of 2021-06-01 (contract, sections 2 and 3). */
import { Hono } from 'hono';
import { compress } from 'hono/compress';
import { Refusal } from '../../base/errors.ts';
import { accountRoutes } from './accounts.ts';
import { answerRoute, createLimits, type Route } from './calls.ts';
import { catalogueRoutes } from './catalogue.ts';
import { connectRoutes } from './connect.ts';
import { itemRoutes } from './items.ts';
import { refusalResponse, standardHeaders } from './responses.ts';
import type { Services } from './services.ts';
import { stockRoutes } from './stocks.ts';
import { transactionRoutes } from './transactions.ts';
import { userRoutes } from './users.ts';

/** Fixed paths stand before those with a parameter in the same place. */
export const ROUTES: readonly Route[] = [
  ...userRoutes,
  ...catalogueRoutes,
  ...connectRoutes,
  ...itemRoutes,
  ...transactionRoutes,
  ...accountRoutes,
  ...stockRoutes,
];

/** Answers every path under `/v2`; mount it with `app.route('/', createV2(services))` or call its `fetch`. */
export function createV2(services: Services): Hono {
  const app = new Hono();
  const limits = createLimits(services);
  app.use('/v2/*', compress({ encoding: 'gzip' }), standardHeaders(services.publicUrl));

  for (const path of new Set(ROUTES.map((route) => route.path))) {
    const routes = ROUTES.filter((route) => route.path === path);
    for (const route of routes) app.on(route.method, path, (c) => answerRoute(route, c, services, limits));
    const allowed = routes.map((route) => route.method).join(', ');
    app.all(path, () => {
      throw new Refusal('method_not_allowed', undefined, { Allow: allowed });
    });
  }
  app.all('/v2/*', () => {
    throw new Refusal('not_found');
  });

  app.onError((error) => {
    if (error instanceof Refusal) return refusalResponse(error, services.documentationUrl);
    services.reportFailure(error);
    return refusalResponse(new Refusal('internal_error'), services.documentationUrl);
  });
  app.notFound(() => refusalResponse(new Refusal('not_found'), services.documentationUrl));
  return app;
}
