/** Stocks (contract, section 3.8). No connector reports securities, so the lists are truly empty. */
import { Refusal } from '../../base/errors.ts';
import { json } from '../edge/responses.ts';
import type { Route } from './calls.ts';

const empty = async () => json({ resources: [], pagination: { next_uri: null } });

export const stockRoutes: readonly Route[] = [
  { method: 'GET', path: '/v2/stocks', scope: 'user', answer: empty },
  { method: 'GET', path: '/v2/stocks/updated', scope: 'user', answer: empty },
  {
    method: 'GET',
    path: '/v2/stocks/:id',
    scope: 'user',
    answer: async () => {
      throw new Refusal('not_found', 'No stock found');
    },
  },
];
