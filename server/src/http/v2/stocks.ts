/** Stocks (contract, section 3.8). No connector reports securities, so the lists are truly empty. */
import { z } from 'zod';
import { Refusal } from '../../base/errors.ts';
import { decodeCursor, pageQuery } from '../edge/cursors.ts';
import { dateTime, readQuery } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Route, UserCall } from './calls.ts';
import { idCursor } from './pages.ts';

const listQuery = z.object(pageQuery);
const updatedQuery = z.object({ ...pageQuery, since: dateTime.optional() });

async function list({ c }: UserCall, schema: typeof listQuery | typeof updatedQuery): Promise<Response> {
  decodeCursor(idCursor, readQuery(c, schema).after);
  return json({ resources: [], pagination: { next_uri: null } });
}

export const stockRoutes: readonly Route[] = [
  { method: 'GET', path: '/v2/stocks', scope: 'user', answer: (call) => list(call, listQuery) },
  { method: 'GET', path: '/v2/stocks/updated', scope: 'user', answer: (call) => list(call, updatedQuery) },
  {
    method: 'GET',
    path: '/v2/stocks/:id',
    scope: 'user',
    answer: async () => {
      throw new Refusal('not_found', 'No stock found');
    },
  },
];
