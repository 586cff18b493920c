/** The REST API of 2021-06-01 (contract, sections 2 and 3). */
import { Hono } from 'hono';
import { compress } from 'hono/compress';
import { standardHeaders } from '../edge/responses.ts';
import { mountTable } from '../edge/table.ts';
import { accountRoutes } from './accounts.ts';
import { answerRoute, createLimits, type Route } from './calls.ts';
import { catalogueRoutes } from './catalogue.ts';
import { connectRoutes } from './connect.ts';
import { itemRoutes } from './items.ts';
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

  mountTable(app, ROUTES, { ...services, prefix: '/v2', answer: (route, c) => answerRoute(route, c, services, limits) });
  return app;
}
