/** Receipts of erasures: what went, and whether all of it has. They name nobody. */
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { findErasure } from '../../upkeep/erasure.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';

async function one({ c, services, application }: Call): Promise<Response> {
  const erasure = await findErasure(services.storage, application.id, c.req.param('id') ?? '');
  if (!erasure) throw new Refusal('not_found');
  return json({
    id: erasure.id,
    kind: erasure.kind,
    state: erasure.state,
    erased: erasure.counts,
    requested_at: isoTimestamp(erasure.requestedAt),
    finished_at: erasure.finishedAt === null ? null : isoTimestamp(erasure.finishedAt),
  });
}

export const erasureRoutes: readonly Route[] = [{ method: 'GET', path: '/api/v1/erasures/:id', answer: one }];
