/** A customer's copy of an account beside ours: equal by digest, or different row by row. */
import { z } from 'zod';
import { accountInApplication } from '../../accounts/read.ts';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { compareAccount, type Dated, digestOfAccount } from '../../transactions/reconcile.ts';
import { dateTime, pathId, readBody } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';

/** Of some 70 bytes each, within the limit of a body. */
const ROWS_MAX = 800;

const id = z.int().min(1).max(Number.MAX_SAFE_INTEGER);
const row = z.strictObject({ id, updated_at: dateTime });
const ascending = (rows: readonly { id: number }[]) => rows.every((current, at) => at === 0 || rows[at - 1]!.id < current.id);

const body = z.union([
  z.strictObject({ digest: z.string().regex(/^[0-9a-f]{64}$/, 'must be SHA-256 in lower-case hexadecimal') }),
  z.strictObject({
    transactions: z
      .array(row)
      .max(ROWS_MAX, `at most ${ROWS_MAX} rows at once: send the rest with the next call`)
      .refine(ascending, 'must be in ascending order of id, each id once'),
    after: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
    last: z.boolean(),
  }),
]);

async function reconcile({ c, services, application }: Call): Promise<Response> {
  const { storage } = services;
  const accountId = pathId(c);
  const theirs = await readBody(c, body);
  if (!(await accountInApplication(storage, application.id, accountId))) throw new Refusal('not_found');
  if ('digest' in theirs) {
    const ours = await digestOfAccount(storage, accountId);
    return json({ equal: ours.digest === theirs.digest, digest: ours.digest, count: ours.count });
  }
  const rows = theirs.transactions.map((known) => ({ id: known.id, updatedAt: known.updated_at }));
  if (rows.length > 0 && rows[0]!.id <= theirs.after) throw new Refusal('bad_request', 'transactions: ids must be above `after`');
  if (rows.length === 0 && !theirs.last) throw new Refusal('bad_request', 'transactions: an empty list must be the last');
  const { missing, extra, outdated, through } = await compareAccount(storage, accountId, {
    theirs: rows,
    after: theirs.after,
    last: theirs.last,
  });
  return json({
    missing_at_yours: missing.map(show),
    extra_at_yours: extra.map(({ id, deleted, updatedAt }) => ({
      id,
      is_deleted: deleted,
      updated_at: updatedAt === null ? null : isoTimestamp(updatedAt),
    })),
    outdated_at_yours: outdated.map(show),
    next_after: through,
  });
}

function show({ id, updatedAt }: Dated): object {
  return { id, updated_at: isoTimestamp(updatedAt) };
}

export const reconcileRoutes: readonly Route[] = [{ method: 'POST', path: '/api/v1/accounts/:id/reconcile', answer: reconcile }];
