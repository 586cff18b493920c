/** A table of routes as an application: each path with its methods, 405 for others, 404 for the rest, failures as JSON. */
import type { Context, Hono } from 'hono';
import { Refusal } from '../../base/errors.ts';
import { checkPath } from './requests.ts';
import { refusalResponse } from './responses.ts';

type Routed = { method: string; path: string };

export type TableOptions<Route> = {
  /** What the table answers whole: `/v2` answers `/v2` and every path below it. */
  prefix: string;
  answer(route: Route, c: Context): Promise<Response>;
  documentationUrl: string | null;
  /** A failure that no rule foresees: the caller sees `internal_error`, the operator sees this. */
  reportFailure(error: unknown): void;
};

/** In `routes`, fixed paths stand before those with a parameter in the same place. */
export function mountTable<Route extends Routed>(app: Hono, routes: readonly Route[], options: TableOptions<Route>): void {
  for (const path of new Set(routes.map((route) => route.path))) {
    const ofPath = routes.filter((route) => route.path === path);
    for (const route of ofPath)
      app.on(route.method, path, (c) => {
        checkPath(c);
        return options.answer(route, c);
      });
    const allowed = ofPath.map((route) => route.method).join(', ');
    app.all(path, () => {
      throw new Refusal('method_not_allowed', undefined, { Allow: allowed });
    });
  }
  app.all(`${options.prefix}/*`, () => {
    throw new Refusal('not_found');
  });
  app.onError((error) => {
    if (error instanceof Refusal) return refusalResponse(error, options.documentationUrl);
    options.reportFailure(error);
    return refusalResponse(new Refusal('internal_error'), options.documentationUrl);
  });
  app.notFound(() => refusalResponse(new Refusal('not_found'), options.documentationUrl));
}
