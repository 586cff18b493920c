/** Deletions that the breaker of an account holds, let go by the operator. */
import { z } from 'zod';
import { accountInApplication } from '../../accounts/read.ts';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { releaseBreaker } from '../../refresh/release.ts';
import { pathId, readBody } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';

async function release({ c, services: { storage }, application, realNow }: Call): Promise<Response> {
  const accountId = pathId(c);
  await readBody(c, z.strictObject({}));
  if (!(await accountInApplication(storage, application.id, accountId))) throw new Refusal('not_found');
  const released = await releaseBreaker(storage, accountId, realNow);
  if (!released.ok && released.refusal === 'not_found') throw new Refusal('not_found');
  if (!released.ok) throw new Refusal('conflict', 'No deletions of this account are held');
  return json({ account_id: accountId, held: released.held, released_at: isoTimestamp(released.releasedAt) });
}

export const breakerRoutes: readonly Route[] = [{ method: 'POST', path: '/api/v1/accounts/:id/breaker/release', answer: release }];
