/** Refreshes that were: what was asked, what the bank answered, and why each row was counted. */
import { z } from 'zod';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { findItem } from '../../items/items.ts';
import { findPastRefresh, type PastRefresh, refreshesOfItem } from '../../items/refresh-history.ts';
import { FILES_ARE_READ_ONCE, refreshItem } from '../../refresh/connection.ts';
import { explainAccount, explainChange, explainRefresh, recordOf } from '../../refresh/explain.ts';
import { totalsOf } from '../../refresh/record.ts';
import { changesOfRefresh, type KeptChange } from '../../transactions/changes.ts';
import { type CursorForm, decodeCursor, encodeCursor, pageQuery } from '../edge/cursors.ts';
import { pathId, readBody, readQuery } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';

const listQuery = z.strictObject(pageQuery);

/** `1690362662279 rfr_…` */
const refreshCursor: CursorForm<{ startedAt: number; id: string }> = {
  write: ({ startedAt, id }) => `${startedAt} ${id}`,
  read: (text) => {
    const match = /^(\d{1,16}) (rfr_[0-9a-z]{20})$/.exec(text);
    return match ? { startedAt: Number(match[1]), id: match[2]! } : null;
  },
};

/** `22908770:15` */
const changeCursor: CursorForm<{ accountId: number; n: number }> = {
  write: ({ accountId, n }) => `${accountId}:${n}`,
  read: (text) => {
    const match = /^(\d{1,16}):(\d{1,9})$/.exec(text);
    return match ? { accountId: Number(match[1]), n: Number(match[2]) } : null;
  },
};

function showRefresh(refresh: PastRefresh): object {
  const record = recordOf(refresh);
  const totals = totalsOf(record);
  return {
    id: refresh.id,
    item_id: refresh.itemId,
    user_uuid: refresh.userUuid,
    trigger: refresh.cause,
    phase: refresh.phase,
    state: refresh.state,
    status_code: refresh.status,
    status_code_info: refresh.statusCodeInfo,
    full_refresh: refresh.fullRefresh,
    started_at: isoTimestamp(refresh.startedAt),
    finished_at: refresh.finishedAt === null ? null : isoTimestamp(refresh.finishedAt),
    bank_calls: record?.calls ?? null,
    nb_new_transactions: totals.new,
    nb_updated_transactions: totals.updated,
    nb_deleted_transactions: totals.deleted,
    nb_held_transactions: totals.held,
    traceparent: refresh.traceparent,
  };
}

async function listOfItem({ c, services, application }: Call): Promise<Response> {
  const itemId = pathId(c);
  const query = readQuery(c, listQuery);
  const item = await findItem(services.storage, itemId);
  if (item?.applicationId !== application.id) throw new Refusal('not_found');
  const rows = await refreshesOfItem(services.storage, itemId, { after: decodeCursor(refreshCursor, query.after), limit: query.limit + 1 });
  const shown = rows.slice(0, query.limit);
  return json({ refreshes: shown.map(showRefresh), next: rows.length > query.limit ? encodeCursor(refreshCursor, shown.at(-1)!) : null });
}

const requestBody = z.strictObject({ window: z.enum(['full', 'incremental']).optional() });

/** Like the wire's own, but that it may ask for the whole history, and says which refresh it is. */
async function request({ c, services, application }: Call): Promise<Response> {
  const itemId = pathId(c);
  const { window } = await readBody(c, requestBody);
  const item = await findItem(services.storage, itemId);
  if (item?.applicationId !== application.id) throw new Refusal('not_found');
  const full = window === 'full';
  if (full && services.connector(item.bankId)?.bank.input === 'files') throw new Refusal('conflict', FILES_ARE_READ_ONCE);
  const asked = await refreshItem(services, itemId, 'api', { full });
  if (!asked) throw new Refusal('not_found');
  services.onRefreshRequested();
  return json({ refresh_id: asked.refreshId, phase: asked.phase, joined: asked.joined }, 202);
}

async function pathRefresh({ c, services, application }: Call): Promise<PastRefresh> {
  const refresh = await findPastRefresh(services.storage, c.req.param('id') ?? '');
  if (refresh?.applicationId !== application.id) throw new Refusal('not_found');
  return refresh;
}

async function one(call: Call): Promise<Response> {
  const refresh = await pathRefresh(call);
  const record = recordOf(refresh);
  return json({
    ...showRefresh(refresh),
    list: record?.list ?? null,
    accounts: record?.accounts.map((note) => ({ ...note, explanation: explainAccount(note, record.list) })) ?? [],
    explanation: explainRefresh(refresh),
  });
}

/** `updated` counts what came back from deletion too. */
export function showChange(change: KeptChange): object {
  return {
    account_id: change.accountId,
    n: change.n,
    transaction_id: change.transactionId,
    kind: change.kind,
    stage: change.stage,
    evidence: change.evidence,
    before: change.before,
    after: change.after,
    explanation: explainChange(change),
  };
}

async function changes(call: Call): Promise<Response> {
  const { c, services } = call;
  const query = readQuery(c, listQuery);
  const refresh = await pathRefresh(call);
  const rows = await changesOfRefresh(services.storage, refresh.id, {
    after: decodeCursor(changeCursor, query.after),
    limit: query.limit + 1,
  });
  const shown = rows.slice(0, query.limit);
  return json({ changes: shown.map(showChange), next: rows.length > query.limit ? encodeCursor(changeCursor, shown.at(-1)!) : null });
}

export const refreshRoutes: readonly Route[] = [
  { method: 'GET', path: '/api/v1/items/:id/refreshes', answer: listOfItem },
  { method: 'POST', path: '/api/v1/items/:id/refresh', answer: request },
  { method: 'GET', path: '/api/v1/refreshes/:id', answer: one },
  { method: 'GET', path: '/api/v1/refreshes/:id/changes', answer: changes },
];
